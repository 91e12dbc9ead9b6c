"""RoI maps of the RPN in training: what the served model would send to the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from demo.attention import ask_each
from demo.device import bfloat16
from demo.language import hidden_states
from demo.packing import Packed
from demo.page_features import PageFeatures
from demo.questions import code_question
from rpn_plugin.head import RegionProposalNetwork

Asked = tuple[PageFeatures, int]
"""A page, and the place of the thing asked for."""


def pack_codes(asked: Sequence[Asked]) -> Packed:
    """The questions for the codes of things, one a row."""
    return ask_each([(p, code_question(p.kind, p.things[n].name)) for p, n in asked])


def rpn_logits(language: Any, rpn: RegionProposalNetwork, packed: Packed) -> Tensor:
    """RoI maps float32 [questions, cells] for rows of one question each, of one grid."""
    with torch.no_grad(), bfloat16(language):
        tapped, _ = hidden_states(language, packed, layers=rpn.config.tap_layer)
    logits: Tensor = rpn(tapped.float(), packed.positions, packed.ends[:, 1])
    return logits[:, packed.image_mask[0]]
