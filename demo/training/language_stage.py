"""Stage 2: the language model learns to point, to name places and to read codes.

The vision tower is frozen. "Where is the red tag?" and its inverse are asked beside the codes from
the first step: without them the model does not bind the word to the right spot in reasonable time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.pages import LEGIBLE_PX, LOST_PX
from demo.pictures.questions import (
    PLACES,
    code_question,
    place_answer,
    what_question,
    where_question,
)
from demo.training.device import bfloat16
from demo.training.language import hidden_states
from demo.training.packing import IGNORE, Layout, Packed, Question, pack
from demo.training.page_features import PageFeatures, Shards, make_shard
from demo.training.stage import Optimizers, Stage

LANGUAGE_SEED = 202
HELD_OUT_SEED = 203


@dataclass(frozen=True)
class _Batch:
    """Pages of a batch, and the questions that are asked about each."""

    pages: int
    layout: Layout


_POINTING = _Batch(28, Layout(plain=4, cropped=0))
_READING = _Batch(20, Layout(plain=2, cropped=1))
"""The model learns to read crops quickly and to point slowly, so one batch in four has crops, and
one in two in the second half. Many pages with few questions work better than few with many."""

_KEPT_SHARDS = 32


@torch.no_grad()
def initialise(language: Any) -> None:
    """Initialises the weights at scales that suit a small model."""
    language.embed_tokens.weight.normal_(0, 0.25)
    for name, parameter in language.layers.named_parameters():
        if parameter.ndim == 2:
            scale = 0.43 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            parameter.normal_(0, scale * parameter.shape[1] ** -0.5)


@dataclass(frozen=True)
class LanguageRecipe:
    """How long to train and on how much: a new shard of pages every `steps_per_shard` steps."""

    steps: int = 3400
    steps_per_shard: int = 75
    shard_pages: int = 480
    held_out_pages: int = 128


def train_language(model: Any, folder: Path, recipe: LanguageRecipe) -> None:
    """Trains `model.model.language_model` in place, or loads it if this stage is finished."""
    steps, steps_per_shard = recipe.steps, recipe.steps_per_shard
    language = model.model.language_model
    initialise(language)
    optimizers = Optimizers(language, matrices="layers.")
    stage = Stage("language", folder, steps, {"language": language, "optimizers": optimizers})
    if stage.done >= steps:
        return
    tower = model.model.visual
    count = -(-steps // steps_per_shard)
    shards = Shards(folder / "shards", tower, LANGUAGE_SEED, count, recipe.shard_pages)
    held_out = _held_out(tower, recipe.held_out_pages)
    pool: dict[int, list[PageFeatures]] = {}

    def step(number: int) -> dict[str, float]:
        newest = number // steps_per_shard
        for shard in range(max(0, newest - _KEPT_SHARDS + 1), newest + 1):
            if shard not in pool:
                pool[shard] = shards.load(shard)
        pool.pop(newest - _KEPT_SHARDS, None)
        packed = _batch(pool, newest, Random(f"language {number}"), number, number / steps)
        loss, numbers = answer_loss(model, packed)
        loss.backward()
        optimizers.step(number / steps)
        if number % 200 == 199 or number == steps - 1:
            shares = answer_accuracy(model, held_out)
            stage.log("held out: " + "  ".join(f"{k} {v:.3f}" for k, v in shares.items()))
        return {"loss": loss.item(), **numbers}

    stage.run(step)
    shards.close()


def answer_loss(model: Any, packed: Packed) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers' tokens, and the share of answers that are right by label."""
    logits, targets = _answer_logits(model, packed)
    shares: dict[str, list[float]] = {}
    for label, right in _right(logits, targets, packed):
        shares.setdefault(label, []).append(right)
    means = {label: sum(v) / len(v) for label, v in sorted(shares.items())}
    return F.cross_entropy(logits.float(), targets), means


def answers_right(model: Any, packed: Packed) -> list[tuple[str, float]]:
    """Each question's label, and 1.0 if greedy decoding would answer it right."""
    return _right(*_answer_logits(model, packed), packed)


def _answer_logits(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    """Logits at the places of the answers' tokens, and these tokens."""
    answered = packed.targets != IGNORE
    with bfloat16(model):
        hidden = hidden_states(model.model.language_model, packed)
        logits = F.linear(hidden[answered], model.model.language_model.embed_tokens.weight)
    return logits, packed.targets[answered]


def _right(logits: Tensor, targets: Tensor, packed: Packed) -> list[tuple[str, float]]:
    """An answer is decoded greedily if each of its tokens is the likeliest after those before."""
    owners = packed.owners[packed.targets != IGNORE]
    missed = (logits.argmax(-1) != targets).float()
    wrong = torch.zeros(len(packed.labels)).index_add_(0, owners, missed)
    return [(n, float(w == 0)) for n, w in zip(packed.labels, wrong.tolist(), strict=True)]


def _held_out(tower: Any, count: int) -> list[Packed]:
    pages = make_shard(tower, HELD_OUT_SEED, 0, count)
    rng = Random(0)
    return [
        pack([(p, _questions(p, rng)) for p in pages[i : i + 16]], Layout(6, 1))
        for i in range(0, len(pages), 16)
    ]


@torch.no_grad()
def answer_accuracy(model: Any, batches: Sequence[Packed]) -> dict[str, float]:
    """The share of right answers by label, under greedy decoding."""
    sums: dict[str, list[float]] = {}
    for packed in batches:
        for label, right in answers_right(model, packed):
            sums.setdefault(label, []).append(right)
    return {label: sum(v) / len(v) for label, v in sorted(sums.items())}


def _batch(
    pool: dict[int, list[PageFeatures]], newest: int, rng: Random, number: int, share_done: float
) -> Packed:
    """Pages from the kept shards, the newest ones more often, with questions."""
    shape = _READING if number % (4 if share_done < 0.5 else 2) == 0 else _POINTING
    chosen = []
    for _ in range(shape.pages):
        shard = newest if rng.random() < 0.2 else rng.choice(sorted(pool))
        page = rng.choice(pool[shard])
        chosen.append((page, _questions(page, rng)))
    return pack(chosen, shape.layout)


def _questions(page: PageFeatures, rng: Random) -> list[Question]:
    """Questions about a page, the most useful first; a row takes as many as it has room for."""
    where, what = _where(page), _what(page)
    rng.shuffle(where)
    rng.shuffle(what)
    codes = _codes_without_crop(page, rng)
    first = codes[:2] + where[:1] + what[:1]
    rng.shuffle(first)
    return first + where[1:] + what[1:] + _codes_with_crop(page, rng)


def _where(page: PageFeatures) -> list[Question]:
    return [
        Question(where_question(page.kind, t.name), place_answer(*_place(page, t.box)), 0, "where")
        for t in page.things
    ]


def _what(page: PageFeatures) -> list[Question]:
    """The inverse of `where`, for places with one thing."""
    at: dict[tuple[int, int], list[str]] = {}
    for thing in page.things:
        at.setdefault(_place(page, thing.box), []).append(thing.name)
    return [
        Question(what_question(page.kind, *place), names[0], 0, "what")
        for place, names in at.items()
        if len(names) == 1
    ]


def _place(page: PageFeatures, box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Row and column, counted from 1, of a box's middle in the coarse grid."""
    width, height = page.size
    column = (box[0] + box[2]) / 2 / width * PLACES
    row = (box[1] + box[3]) / 2 / height * PLACES
    return int(row) + 1, int(column) + 1


def _codes_without_crop(page: PageFeatures, rng: Random) -> list[Question]:
    """Questions to be answered from the base view, a few of them about codes lost in it."""
    questions = []
    for number in rng.sample(range(len(page.things)), len(page.things)):
        thing, tall = page.things[number], page.text_px[number]
        if tall >= LOST_PX or rng.random() < 0.12:
            question = code_question(page.kind, thing.name)
            questions.append(Question(question, thing.code, 0, f"base {band(tall)}"))
    return questions


def _codes_with_crop(page: PageFeatures, rng: Random) -> list[Question]:
    """Questions with a crop. If the crop has no readable code, some are about a code legible in the
    base view."""
    questions = []
    for place, view in enumerate(page.views[1:], start=1):
        readable = list(view.readable)
        if not readable and rng.random() < 0.3:
            readable = [n for n, tall in enumerate(page.text_px) if tall >= LEGIBLE_PX]
        if readable:
            number = rng.choice(readable)
            thing, tall = page.things[number], page.text_px[number]
            label = f"crop {band(tall)}" if view.readable else "crop of nothing"
            questions.append(
                Question(code_question(page.kind, thing.name), thing.code, place, label)
            )
    rng.shuffle(questions)
    return questions


def band(text_px: float) -> str:
    """The name of a text height's band in the base view."""
    if text_px < LOST_PX:
        return "lost"
    return "legible" if text_px >= LEGIBLE_PX else "between"
