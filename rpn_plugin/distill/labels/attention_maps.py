"""Maps of where the model looks while it answers, for batches of chats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import Chats
from rpn_plugin.distill.data.samples import Sample
from rpn_plugin.distill.labels.heads import Heads
from rpn_plugin.distill.settings import DistillSettings


def answers_of(
    base: BaseModel, chats: Chats, samples: Sequence[Sample], settings: DistillSettings
) -> list[list[int]]:
    """Token ids of the answers whose attention is read; empty ones where only the question's is."""
    if settings.response == "generate":
        return base.answers(chats.prompts, settings.max_new_tokens)
    if settings.response == "answer":
        texts = [next(iter(samples[n].answers), "") for n in chats.numbers]
        # The last token is never fed, as of a generated answer: its place is the end's.
        return [[*base.answer_tokens(text), 0] if text else [] for text in texts]
    return [[] for _ in chats.numbers]


def combined(maps: dict[int, Tensor]) -> Tensor:
    """The plain mean over all recorded heads, [chats, most cells], as the released scripts do."""
    return torch.cat([maps[layer] for layer in sorted(maps)], 1).mean(1)


def select(maps: dict[int, Tensor], heads: Heads, recorded: Heads) -> dict[int, Tensor]:
    """The maps of `heads` alone, out of those of `recorded`."""
    return {n: maps[n][:, [recorded[n].index(h) for h in chosen]] for n, chosen in heads.items()}


def union(first: Heads, second: Heads) -> Heads:
    """Heads that are in either."""
    return {
        n: tuple(sorted({*first.get(n, ()), *second.get(n, ())}))
        for n in sorted(first.keys() | second.keys())
    }
