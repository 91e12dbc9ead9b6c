"""What the hazard tests assert."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vllm.outputs import RequestOutput

from rpn_plugin.messages import RoiMap, decode_result
from tests.rpn_plugin.engine.chats import Chat
from tests.rpn_plugin.engine.reference import Reference

TOLERANCE = 1e-4


def assert_same_map(roi: RoiMap, truth: NDArray[np.float32]) -> None:
    """The engine's logits are the dense float32 ones, shape included."""
    np.testing.assert_allclose(roi.logits, truth, rtol=0, atol=TOLERANCE)


def assert_right(reference: Reference, chat: Chat, output: RequestOutput, image: int = -1) -> None:
    """A finished request carries the right map of picture number `image`."""
    truth = reference.map(chat, output.prompt_token_ids, image)
    assert_same_map(decode_result(output.kv_transfer_params), truth)
