"""Where the model looks while it answers: maps of attention, and which heads' maps to believe.

A head worth learning from looks at the thing that is asked for. That can be seen without knowing
where the thing is: its map stays the same when the same thing is asked for in other words, and
moves when another thing is asked for. Heads are ranked by that difference alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.device import bfloat16
from demo.language import hidden_states
from demo.packing import Layout, Packed, Question, pack, shared_length
from demo.page_features import PageFeatures
from demo.questions import code_question, where_question


@dataclass(frozen=True)
class Head:
    """A head of a layer, both counted from 0, and how well its maps follow the question."""

    layer: int
    head: int
    score: float


def ask_each(questions: Sequence[tuple[PageFeatures, str]]) -> Packed:
    """One row for each question, without a gap; the pages' base views must have one grid."""
    layout = Layout(plain=1, cropped=0, shared=shared_length(questions[0][0]))
    return pack([(page, [Question(text, "", 0, "")]) for page, text in questions], layout)


@torch.no_grad()
def attention_maps(language: Any, packed: Packed, *, layers: int | None = None) -> Tensor:
    """Attention from the last prompt token to the base view [questions, layers, heads, cells]."""
    with bfloat16(language):
        _, maps = hidden_states(language, packed, layers=layers)
    last, row = packed.ends[:, 1] - packed.layout.shared, torch.arange(len(packed.ends))
    cells = packed.image_mask[0].nonzero()[:, 0]
    return torch.stack([m[row, :, last][..., cells].float() for m in maps], 1)


def rank_heads(language: Any, pages: Sequence[PageFeatures]) -> list[Head]:
    """All heads, those first whose maps follow what is asked for, not how it is asked for."""
    total: Tensor = torch.zeros(())
    for page in pages:
        questions = [code_question(page.kind, t.name) for t in page.things]
        questions += [where_question(page.kind, t.name) for t in page.things]
        maps = attention_maps(language, ask_each([(page, q) for q in questions]))
        total = total + _consistency(maps, len(page.things))
    scores = total / len(pages)
    heads = [
        Head(layer, head, float(scores[layer, head]))
        for layer in range(scores.shape[0])
        for head in range(scores.shape[1])
    ]
    return sorted(heads, key=lambda h: -h.score)


def _consistency(maps: Tensor, things: int) -> Tensor:
    """Likeness of maps of the same thing minus that of different things, [layers, heads]."""
    code, where = F.normalize(maps[:things], dim=-1), F.normalize(maps[things:], dim=-1)
    alike = torch.einsum("alhc,blhc->lhab", code, where)
    same = alike.diagonal(dim1=-2, dim2=-1).mean(-1)
    different = (alike.sum((-1, -2)) - alike.diagonal(dim1=-2, dim2=-1).sum(-1)) / (
        things * (things - 1)
    )
    return same - different


def believed_maps(maps: Tensor, heads: Sequence[Head]) -> Tensor:
    """The mean map of `heads`, each summing to 1 over the picture, [questions, cells]."""
    chosen = torch.stack([maps[:, h.layer, h.head] for h in heads])
    return (chosen / chosen.sum(-1, keepdim=True)).mean(0)
