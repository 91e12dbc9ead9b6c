"""Stage 1: a CLIP tower and its MLP learn to see as the shipped model's tower does.

The targets are the shipped tower's visual tokens of the page's twin (`pages.py`), beside them the
dense labels of `demo.vision_stage`, and the digit of the square on each patch. So the language
model that comes after can begin as the shipped one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from demo.architecture import HIDDEN, IMAGE_MEAN, IMAGE_STD
from demo.device import bfloat16, device_of
from demo.drawing import Box
from demo.llava.pages import render_pair, render_sheet
from demo.pages import LOST_PX, Page
from demo.stage import Optimizers, Stage
from demo.views import View, proposed_box, random_box, scale
from demo.vision import vision_features
from demo.vision_labels import IGNORE, NO_DIGIT, dense_labels
from demo.vision_stage import CELL_LABELS, cell_loss

SEED = 111
HELD_OUT_SEED = 999
_BATCH = 16
_HELD_OUT_PAGES = 60
_TOKENS_SHARE = 4.0
"""Weight of the shipped tower's tokens beside the dense labels."""

_SEEN = 3
"""Times that each batch is learnt from: rendering it and the shipped tower cost as much as that."""
_KEPT = 96

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pixels uint8 [batch, height, width, 3], labels of cells, digits of squares [batch, cells], the
shipped tower's visual tokens."""


def visual_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens [batch, cells, hidden] of pixels uint8 [batch, height, width, 3]."""
    tokens: Tensor = model.model.multi_modal_projector(_states(model, pixels))
    return tokens


def _states(model: Any, pixels: Tensor) -> Tensor:
    """What the tower makes of each patch, [batch, cells, hidden]."""
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    values = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    seen = model.model.vision_tower(values, output_hidden_states=True).hidden_states[-1]
    states: Tensor = seen[:, 1:]
    return states


def train_vision(model: Any, shipped: Any, folder: Path, steps: int) -> None:
    """Trains tower and MLP of `model` in place, or loads them if this stage is finished."""
    reader, spotter = nn.Linear(HIDDEN, CELL_LABELS), nn.Linear(HIDDEN, NO_DIGIT + 1)
    rare = torch.ones(NO_DIGIT + 1)
    rare[NO_DIGIT] = 0.1
    parts = {"tower": model.model.vision_tower, "mlp": model.model.multi_modal_projector}
    trained = nn.ModuleDict({**parts, "reader": reader, "spotter": spotter})
    optimizers = Optimizers(trained, matrices="encoder.layers")
    stage = Stage("vision", folder, steps, {"modules": trained, "optimizers": optimizers})
    if stage.done >= steps:
        return
    fresh = _batches(shipped.model.visual, SEED + 1000 * stage.done)
    kept: deque[Batch] = deque(maxlen=_KEPT)

    def step(number: int) -> dict[str, float]:
        if number % _SEEN == 0 or not kept:
            kept.append(next(fresh))
        again = Random(f"llava vision {number}").randrange(len(kept))
        pixels, cells, digits, wanted = kept[-1 if number % _SEEN == 0 else again]
        with bfloat16(reader):
            states = _states(model, pixels)
            tokens = model.model.multi_modal_projector(states)
            read, numbers = cell_loss(reader(tokens), cells)
            spotted = spotter(states).float()
        unlike = F.mse_loss(tokens.float(), wanted) / wanted.var()
        spot = F.cross_entropy(
            spotted.flatten(0, 1), digits.flatten(), weight=rare, ignore_index=IGNORE
        )
        (_TOKENS_SHARE * unlike + read + spot).backward()
        optimizers.step(number / steps)
        there = (digits >= 0) & (digits < NO_DIGIT)
        numbers["digit"] = (spotted.argmax(-1) == digits)[there].float().mean().item()
        return {"unlike": unlike.item(), **numbers}

    stage.run(step)
    shares = _held_out(model, spotter)
    stage.say("held out: " + "  ".join(f"{kind} {share:.3f}" for kind, share in shares.items()))


@torch.no_grad()
def _held_out(model: Any, spotter: nn.Module) -> dict[str, float]:
    """The share of squares whose digit is told, of those to be read, in base views and in crops."""
    right: dict[str, list[bool]] = {"base": [], "crop": []}
    for index in range(_HELD_OUT_PAGES):
        pair = render_pair(HELD_OUT_SEED, index)
        box = proposed_box(pair.page, pair.page.things[0].box, Random(index))
        for kind, (view, twin) in {"base": pair.base_views(), "crop": pair.crop_views(box)}.items():
            pixels = torch.from_numpy(view.pixels.copy())[None].to(device_of(model))
            told = spotter(_states(model, pixels))[0].argmax(-1).cpu().numpy()
            digits = _digits(pair.page, twin)
            there = (digits >= 0) & (digits < NO_DIGIT)
            right[kind] += (told == digits)[there].tolist()
    return {kind: float(np.mean(found)) for kind, found in right.items()}


@torch.no_grad()
def _batches(tower: Any, seed: int) -> Iterator[Batch]:
    """Endless batches: pages, crops of them, and sheets; the shipped `tower` looks at the twins."""
    index = 0
    while True:
        views: list[tuple[View, View, Page]] = []
        while len(views) < _BATCH:
            views += _views(seed, index)
            index += 1
        pixels, twins, cells, digits = (
            torch.from_numpy(np.stack(arrays)).to(device_of(tower))
            for arrays in zip(
                *(
                    (v.pixels, t.pixels, dense_labels(page, t).cells, _digits(page, t))
                    for v, t, page in views
                ),
                strict=True,
            )
        )
        with bfloat16(tower):
            _, wanted = vision_features(tower, twins)
        yield pixels, cells, digits, wanted.float()


def _digits(page: Page, view: View) -> NDArray[np.int64]:
    """For each cell the digit of the square in it, NO_DIGIT, or IGNORE if it is not to be read."""
    found = np.full(view.grid, NO_DIGIT, np.int64)
    for thing in page.things:
        x0, y0, x1, y1 = thing.text_box
        across, down = scale(view)
        col = int(((x0 + x1) / 2 - view.box[0]) * across // view.cell)
        row = int(((y0 + y1) / 2 - view.box[1]) * down // view.cell)
        if 0 <= row < view.grid[0] and 0 <= col < view.grid[1]:
            readable = (y1 - y0) * down >= LOST_PX
            found[row, col] = int(thing.code[0]) if readable else IGNORE
    return found.ravel()


def _views(seed: int, index: int) -> list[tuple[View, View, Page]]:
    """Views of the small LLaVA, of the twin, and what they are of."""
    pair, rng = render_pair(seed, index), Random(f"llava vision {seed} {index}")
    page = pair.page
    boxes = [proposed_box(page, rng.choice(page.things).box, rng) for _ in range(6)]
    boxes.append(random_box(page, rng))
    seen = [(*pair.base_views(), page), *((*pair.crop_views(box), page) for box in boxes)]
    for number in range(8):
        sheet = render_sheet(seed, 8 * index + number)
        seen.append((*sheet.crop_views(_window(sheet.page.image.width, rng)), sheet.page))
    return seen


def _window(side: int, rng: Random) -> Box:
    """A part of a sheet: tags from the size they have in base views to that of crops."""
    wide, tall = (round(side * 4 ** -rng.random()) for _ in "xy")
    x, y = rng.randint(0, side - wide), rng.randint(0, side - tall)
    return x, y, x + wide, y + tall
