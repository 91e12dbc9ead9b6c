"""Stage 1: a CLIP tower and its MLP learn to see as the shipped model's tower does.

The targets are the shipped tower's visual tokens of the same 112 px, enlarged to the 224 it knows;
beside them the dense labels of `demo.vision_stage`. So the language model that comes after can
begin as the shipped one.
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
from torch import Tensor, nn

from demo.architecture import HIDDEN, IMAGE_MEAN, IMAGE_STD
from demo.device import bfloat16, device_of
from demo.llava.pages import STYLE, base_view, crop_view
from demo.pages import Page, render_page
from demo.sheets import render_sheet
from demo.stage import Optimizers, Stage
from demo.views import View, proposed_box, random_box
from demo.vision import vision_features
from demo.vision_labels import dense_labels
from demo.vision_stage import CELL_LABELS, cell_loss

SEED = 111
_BATCH = 32
_TOKENS_SHARE = 4.0
"""Weight of the shipped tower's tokens beside the dense labels."""

_SEEN = 3
"""Times that each batch is learnt from: rendering it and the shipped tower cost as much as that."""
_KEPT = 96

Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels uint8 [batch, height, width, 3], labels of cells, the shipped tower's visual tokens."""


def visual_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Visual tokens [batch, cells, hidden] of pixels uint8 [batch, height, width, 3]."""
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    values = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    states = model.model.vision_tower(values, output_hidden_states=True).hidden_states[-1]
    tokens: Tensor = model.model.multi_modal_projector(states[:, 1:])
    return tokens


def train_vision(model: Any, shipped: Any, folder: Path, steps: int) -> None:
    """Trains tower and MLP of `model` in place, or loads them if this stage is finished."""
    reader = nn.Linear(HIDDEN, CELL_LABELS)
    parts = {"tower": model.model.vision_tower, "mlp": model.model.multi_modal_projector}
    trained = nn.ModuleDict({**parts, "reader": reader})
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
        pixels, cells, wanted = kept[-1 if number % _SEEN == 0 else again]
        with bfloat16(reader):
            tokens = visual_tokens(model, pixels)
            read, numbers = cell_loss(reader(tokens), cells)
        unlike = F.mse_loss(tokens.float(), wanted) / wanted.var()
        (_TOKENS_SHARE * unlike + read).backward()
        optimizers.step(number / steps)
        return {"unlike": unlike.item(), **numbers}

    stage.run(step)


@torch.no_grad()
def _shipped_tokens(tower: Any, pixels: Tensor) -> Tensor:
    """Visual tokens float32 of the shipped tower, which has a token for 28 x 28 px."""
    twice = F.interpolate(pixels.permute(0, 3, 1, 2).float(), scale_factor=2, mode="bilinear")
    with bfloat16(tower):
        _, tokens = vision_features(tower, twice.permute(0, 2, 3, 1))
    return tokens.float()


def _batches(tower: Any, seed: int) -> Iterator[Batch]:
    """Endless batches: pages, crops of them, and as many sheets."""
    index = 0
    while True:
        views: list[tuple[Page, View]] = []
        while len(views) < _BATCH:
            views += _views(seed, index)
            index += 1
        seen = np.stack([view.pixels for _, view in views])
        truth = np.stack([dense_labels(page, view).cells for page, view in views])
        pixels, cells = (torch.from_numpy(a).to(device_of(tower)) for a in (seen, truth))
        yield pixels, cells, _shipped_tokens(tower, pixels)


def _views(seed: int, index: int) -> list[tuple[Page, View]]:
    page, rng = render_page(seed, index, STYLE), Random(f"llava vision {seed} {index}")
    boxes = [proposed_box(page, rng.choice(page.things).box, rng) for _ in range(6)]
    boxes.append(random_box(page, rng))
    seen = [(page, base_view(page)), *((page, crop_view(page, box)) for box in boxes)]
    for number in range(8):
        sheet, _ = render_sheet(seed, 2 * (8 * index + number) + 1)
        seen.append((sheet, base_view(sheet)))
    return seen
