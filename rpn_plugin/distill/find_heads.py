"""Finds the attention heads worth learning from, without boxes and without their numbers.

A head that grounds the answer looks at what is asked for, wherever it is and however one asks. So
each question is put four ways: as it is; reworded; about the mirrored picture; and in its place
another question of the data. A head is believed if its map stays when the wording changes, moves
with the picture when that is mirrored, and changes when something else is asked. A head that
looks at the same places always (a sink) fails the last test, one that is noise the first two, and
one that counts tokens the second. The same tells which rows of attention to read: some models look
while they answer, some while they read the end of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.chats import Chats, chats_of, chunks
from rpn_plugin.distill.heads import Heads, all_heads, grouped
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.read_attention import answers_of
from rpn_plugin.distill.samples import Rejected, Sample
from rpn_plugin.distill.settings import DistillSettings

GOOD_ENOUGH = 0.7
"""Heads that score this share of the best one's score are learnt from, up to `head_count`."""

_REWORDED = "Look at the picture. {}"


@dataclass(frozen=True)
class HeadScores:
    """Each [layers, heads], means over questions of cosines between maps. `reworded`, `mirrored`:
    likeness of a map and the one of the same question put that way; `other`: and the one of
    another question."""

    reworded: Tensor
    mirrored: Tensor
    other: Tensor

    @property
    def score(self) -> Tensor:
        """How much more a map follows the question than it repeats itself."""
        return (self.reworded + self.mirrored) / 2 - self.other

    def ranked(self) -> list[tuple[int, int]]:
        """All heads as (layer, head), the best first."""
        width = self.score.shape[1]
        places = self.score.flatten().argsort(descending=True, stable=True).tolist()
        return [divmod(place, width) for place in places]

    def best(self, most: int) -> Heads:
        """The heads to learn from."""
        ranked = self.ranked()
        enough = GOOD_ENOUGH * self.score[ranked[0]]
        return grouped([h for h in ranked[:most] if h == ranked[0] or self.score[h] >= enough])

    def follows(self, most: int) -> float:
        """The mean score of the best `most` heads."""
        return float(self.score.flatten().topk(min(most, self.score.numel())).values.mean())


ROWS = ("prefill", "decode")
"""Rows of attention that `queries: auto` chooses from."""


def score_heads(
    base: BaseModel, samples: Sequence[Sample], settings: DistillSettings, log: Log
) -> dict[str, HeadScores]:
    """Scores of all heads for each kind of rows that the settings leave open, on the first
    `settings.calibration` of a shuffled order of samples."""
    rows = (settings.queries,) if settings.queries != "auto" else ROWS
    if settings.response == "none":
        rows = ("prefill",)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(settings.seed))
    chosen = order[: settings.calibration].tolist()
    others = _other_questions(samples, chosen)
    views: list[tuple[Callable[[int], str], Callable[[Image.Image], Image.Image]]] = [
        (lambda n: samples[n].question, _same),
        (lambda n: _REWORDED.format(samples[n].question), _same),
        (lambda n: samples[n].question, ImageOps.mirror),
        (lambda n: others[n], _same),
    ]
    batches = chunks(chosen, settings.label_batch)
    streams = [
        chats_of(base, samples, batches, 1, list[Rejected](), question, change)
        for question, change in views
    ]
    bar = log.bar("looking for heads", len(chosen))
    sums = {queries: torch.zeros(3, len(base.layers), base.heads) for queries in rows}
    for asked in zip(*streams, strict=True):
        answers = [answers_of(base, chats, samples, settings) for chats in asked]
        for queries, total in sums.items():
            plain, reworded, mirrored, other = (
                _maps(base, chats, answer, queries)
                for chats, answer in zip(asked, answers, strict=True)
            )
            mirrored = _mirrored_back(mirrored, asked[2].prompts.grids)
            total += torch.stack([_likeness(plain, m) for m in (reworded, mirrored, other)])
        bar.update(len(asked[0].numbers))
    bar.close()
    return {
        queries: HeadScores(*(total / len(chosen)).unbind(0)) for queries, total in sums.items()
    }


def _same(picture: Image.Image) -> Image.Image:
    return picture


def _other_questions(samples: Sequence[Sample], chosen: Sequence[int]) -> dict[int, str]:
    """For each chosen sample a question that differs from its own: that of the next sample that
    asks something else."""
    others: dict[int, str] = {}
    for place, number in enumerate(chosen):
        following = [*chosen[place + 1 :], *chosen[:place]]
        mine = samples[number].question
        others[number] = next(
            (samples[n].question for n in following if samples[n].question != mine), mine
        )
    return others


def _maps(base: BaseModel, chats: Chats, answers: Sequence[Sequence[int]], queries: str) -> Tensor:
    """Maps of every head [chats, layers, heads, most cells]."""
    maps = base.attention(chats.prompts, answers, queries, all_heads(len(base.layers), base.heads))
    return torch.stack([maps[layer] for layer in sorted(maps)], 1)


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    """Cosines between maps, summed over chats, [layers, heads]."""
    return F.cosine_similarity(first, second, dim=-1).sum(0)


def _mirrored_back(maps: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    turned = torch.zeros_like(maps)
    for place, (rows, cols) in enumerate(grids):
        cells = maps[place, ..., : rows * cols].unflatten(-1, (rows, cols))
        turned[place, ..., : rows * cols] = cells.flip(-1).flatten(-2)
    return turned
