"""Stage 2: the language model, begun as the shipped one, learns Llama's positions and these views.

Where a token of a picture stands it knows now only from its place in the prompt, one number instead
of three. The tower stays as it is; the shipped stage's questions are asked, but for those about
places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from demo.device import bfloat16, device_of
from demo.language_stage import answer_accuracy, answer_loss, codes_with_crop, codes_without_crop
from demo.llava.pages import base_view, crop_view, render_pair
from demo.llava.vision_stage import visual_tokens
from demo.packing import Layout, Question, pack
from demo.page_features import PageFeatures, describe_page
from demo.stage import Optimizers, Stage

SEED = 212
HELD_OUT_SEED = 213
_PAGES = 16
_LAYOUT = Layout(plain=2, cropped=1, one_axis=True)


@dataclass(frozen=True)
class LanguageRecipe:
    """How long to train, and on how much: `new_pages` more at every step, `pool` to begin with."""

    steps: int = 1500
    pool: int = 1600
    new_pages: int = 4
    held_out_pages: int = 96


def begin_as(shipped: Any, model: Any) -> None:
    """Gives `model` the shipped language model's weights, its biases left out."""
    source = shipped.model.language_model.state_dict()
    language = model.model.language_model
    language.load_state_dict({name: source[name].float() for name in language.state_dict()})


def train_language(model: Any, folder: Path, recipe: LanguageRecipe) -> None:
    """Trains `model.model.language_model` in place, or loads it if this stage is finished."""
    language = model.model.language_model
    optimizers = Optimizers(language, muon=5e-3, adamw=7e-4, matrices="layers.")
    stage = Stage("language", folder, recipe.steps, {"model": language, "optimizers": optimizers})
    if stage.done >= recipe.steps:
        return
    held_out = _held_out(model, recipe.held_out_pages)
    first = recipe.new_pages * stage.done
    pool = features(model, SEED, range(first, first + recipe.pool))

    def step(number: int) -> dict[str, float]:
        newest = recipe.pool + recipe.new_pages * number
        pool.extend(features(model, SEED, range(newest, newest + recipe.new_pages)))
        rng = Random(f"llava language {number}")
        pages = [rng.choice(pool) for _ in range(_PAGES)]
        packed = pack([(page, _questions(page, rng)) for page in pages], _LAYOUT)
        loss, numbers = answer_loss(model, packed)
        loss.backward()
        optimizers.step(number / recipe.steps)
        if number % 200 == 199 or number == recipe.steps - 1:
            shares = answer_accuracy(model, held_out)
            stage.say("held out: " + "  ".join(f"{k} {v:.3f}" for k, v in shares.items()))
        return {"loss": loss.item(), **numbers}

    stage.run(step)


def features(model: Any, seed: int, pages: Sequence[int]) -> list[PageFeatures]:
    """Those pages of a seed with the visual tokens of a base view and a crop each."""
    described = []
    for index in pages:
        page = render_pair(seed, index).page
        rng = Random(f"llava {seed} {index}")
        described.append(describe_page(page, rng, see=(base_view, crop_view)))
    made: list[PageFeatures] = []
    for start in range(0, len(described), 32):
        chunk = described[start : start + 32]
        tokens = _tokens(model, np.stack([v.pixels for views, _ in chunk for v in views]))
        for number, (views, page_features) in enumerate(chunk):
            own = tokens[number * len(views) : (number + 1) * len(views)]
            seen = zip(page_features.views, own, strict=True)
            made.append(
                replace(page_features, views=tuple(replace(v, tokens=t.clone()) for v, t in seen))
            )
    return made


@torch.no_grad()
def _tokens(model: Any, pixels: Any) -> torch.Tensor:
    with bfloat16(model):
        return visual_tokens(model, torch.from_numpy(pixels).to(device_of(model))).half()


def _held_out(model: Any, count: int) -> list[Any]:
    pages, rng = features(model, HELD_OUT_SEED, range(count)), Random(0)
    layout = replace(_LAYOUT, plain=4)
    return [
        pack([(p, _questions(p, rng)) for p in pages[i : i + 16]], layout)
        for i in range(0, len(pages), 16)
    ]


def _questions(page: PageFeatures, rng: Random) -> list[Question]:
    return codes_without_crop(page, rng) + codes_with_crop(page, rng)
