"""Finds the attention heads worth learning from, without boxes and without their numbers.

Heads that ground the answer look at what is asked for, wherever it is and however one asks. So each
question is put four ways: as it is; reworded; about the mirrored picture; and in its place another
question of the data. Heads are believed if their map stays when the wording changes, moves with the
picture when that is mirrored, and changes when something else is asked. One that looks at the same
places always (a sink) fails the last test, one that is noise the first two, and one that counts
tokens the second. The same tells which rows of attention to read: some models look while they
answer, some while they read the end of the question.

Labels are made from the mean map of several heads, so it is this mean that is judged: heads that
are each mistaken now and then are right together. They are added one by one, each time the one
that helps the others most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import Chats, chats_of, chunks
from rpn_plugin.distill.data.samples import RejectedRow, Sample
from rpn_plugin.distill.labels.attention_maps import answers_of
from rpn_plugin.distill.labels.heads import Heads, all_heads, grouped
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings

LEAST_GAIN = 0.01
"""One more head must raise the score of the mean map by so much."""

_SCALE = 1024.0
"""Maps are kept in half precision, and a cell's share of attention may be less than that has."""

_REWORDED = "Look at the picture. {}"


@dataclass(frozen=True)
class HeadMaps:
    """Every head's map of the same questions, put in four ways: each float16 [questions, layers,
    heads, cells], `mirrored` turned back."""

    plain: Tensor
    reworded: Tensor
    mirrored: Tensor
    other: Tensor

    def alone(self) -> Tensor:
        """Every head's own score [layers, heads]: how much more its map follows the question than
        it repeats itself."""
        return self._with([]).view(self.plain.shape[1:3])

    def best(self, most: int) -> list[tuple[tuple[int, int], float]]:
        """At most `most` heads as (layer, head), in the order in which they were added, each with
        the score of the mean map from then on."""
        chosen: list[int] = []
        found: list[tuple[tuple[int, int], float]] = []
        while len(chosen) < min(most, self.plain[0, ..., 0].numel()):
            scores = self._with(chosen)
            scores[chosen] = -torch.inf
            place = int(scores.argmax())
            score = float(scores[place])
            if found and score < found[-1][1] + LEAST_GAIN:
                break
            chosen.append(place)
            found.append((divmod(place, self.plain.shape[2]), score))
        return found

    def _with(self, chosen: Sequence[int]) -> Tensor:
        """The score of the mean map of the `chosen` heads and each head of all in turn, flat."""
        total = torch.zeros(self.plain[0, ..., 0].numel())
        for maps in zip(self.plain, self.reworded, self.mirrored, self.other, strict=True):
            heads = [m.float().flatten(0, 1) for m in maps]
            plain, reworded, mirrored, other = (m + m[list(chosen)].sum(0) for m in heads)
            stays = (_likeness(plain, reworded) + _likeness(plain, mirrored)) / 2
            total += stays - _likeness(plain, other)
        return total / len(self.plain)


@dataclass(frozen=True)
class HeadChoice:
    """What is learnt from: `heads` of attention in `rows`. `added` is HeadMaps.best of these rows,
    `scores` the score of the best mean map by rows, `alone` HeadMaps.alone."""

    rows: str
    added: tuple[tuple[tuple[int, int], float], ...]
    scores: dict[str, float]
    alone: Tensor

    @property
    def heads(self) -> Heads:
        """The heads by layer."""
        return grouped([head for head, _ in self.added])


ROWS = ("prefill", "decode")
"""Rows of attention that `queries: auto` chooses from."""


def find_heads(
    base: BaseModel, samples: Sequence[Sample], settings: DistillSettings, log: Log
) -> HeadChoice:
    """The heads to learn from, and the rows if the settings leave them open, judged by the first
    `settings.calibration` of a shuffled order of samples."""
    maps = _read_maps(base, samples, settings, log)
    added = {rows: found.best(settings.head_count) for rows, found in maps.items()}
    scores = {rows: heads[-1][1] for rows, heads in added.items()}
    rows = max(scores, key=lambda kind: scores[kind])
    return HeadChoice(rows, tuple(added[rows]), scores, maps[rows].alone())


def _read_maps(
    base: BaseModel, samples: Sequence[Sample], settings: DistillSettings, log: Log
) -> dict[str, HeadMaps]:
    rows = (settings.queries,) if settings.queries != "auto" else ROWS
    if settings.response == "none":
        rows = ("prefill",)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(settings.seed))
    chosen = order[: settings.calibration].tolist()
    others = _other_questions(samples, chosen)
    ways: list[tuple[Callable[[int], str], Callable[[Image.Image], Image.Image]]] = [
        (lambda n: samples[n].question, _same),
        (lambda n: _REWORDED.format(samples[n].question), _same),
        (lambda n: samples[n].question, ImageOps.mirror),
        (lambda n: others[n], _same),
    ]
    batches = chunks(chosen, settings.label_batch)
    streams = [
        chats_of(base, samples, batches, 1, list[RejectedRow](), question, change)
        for question, change in ways
    ]
    bar = log.bar("looking for heads", len(chosen))
    read: dict[str, list[list[Tensor]]] = {queries: [[] for _ in ways] for queries in rows}
    for asked in zip(*streams, strict=True):
        answers = [answers_of(base, chats, samples, settings) for chats in asked]
        for queries, by_way in read.items():
            maps = [
                _maps(base, chats, answer, queries)
                for chats, answer in zip(asked, answers, strict=True)
            ]
            maps[2] = _mirrored_back(maps[2], asked[2].prompts.grids)
            for kept, batch in zip(by_way, maps, strict=True):
                kept.extend((batch * _SCALE).half().cpu())
        bar.update(len(asked[0].numbers))
    bar.close()
    return {queries: HeadMaps(*map(_stacked, by_way)) for queries, by_way in read.items()}


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


def _stacked(maps: Sequence[Tensor]) -> Tensor:
    """[questions, layers, heads, most cells] from maps [layers, heads, cells] of any cells."""
    most = max(m.shape[-1] for m in maps)
    return torch.stack([F.pad(m, (0, most - m.shape[-1])) for m in maps])


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    """Cosines between maps [heads, cells]."""
    return F.cosine_similarity(first, second, dim=-1)


def _mirrored_back(maps: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    turned = torch.zeros_like(maps)
    for place, (rows, cols) in enumerate(grids):
        cells = maps[place, ..., : rows * cols].unflatten(-1, (rows, cols))
        turned[place, ..., : rows * cols] = cells.flip(-1).flatten(-2)
    return turned
