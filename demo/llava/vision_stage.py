"""Stage 1: a CLIP tower and its MLP learn to see as the shipped model's tower does.

The targets are the shipped tower's visual tokens of the page's twin (`pages.py`), beside them the
dense labels of `demo.vision_stage`. So the language model that comes after can begin as the shipped
one.
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
from demo.llava.pages import render_pair, render_sheet
from demo.pages import Page
from demo.stage import Optimizers, Stage
from demo.views import View, proposed_box, random_box
from demo.vision import vision_features
from demo.vision_labels import dense_labels
from demo.vision_stage import CELL_LABELS, cell_loss

SEED = 111
_BATCH = 16
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
def _batches(tower: Any, seed: int) -> Iterator[Batch]:
    """Endless batches: pages, crops of them, and sheets; the shipped `tower` looks at the twins."""
    index = 0
    while True:
        views: list[tuple[View, View, Page]] = []
        while len(views) < _BATCH:
            views += _views(seed, index)
            index += 1
        pixels, twins, cells = (
            torch.from_numpy(np.stack(arrays)).to(device_of(tower))
            for arrays in zip(
                *((v.pixels, t.pixels, dense_labels(page, t).cells) for v, t, page in views),
                strict=True,
            )
        )
        with bfloat16(tower):
            _, wanted = vision_features(tower, twins)
        yield pixels, cells, wanted.float()


def _views(seed: int, index: int) -> list[tuple[View, View, Page]]:
    """Views of the small LLaVA, of the twin, and what they are of."""
    pair, rng = render_pair(seed, index), Random(f"llava vision {seed} {index}")
    page = pair.page
    boxes = [proposed_box(page, rng.choice(page.things).box, rng) for _ in range(6)]
    boxes.append(random_box(page, rng))
    seen = [(*pair.base_views(), page), *((*pair.crop_views(box), page) for box in boxes)]
    sheets = [render_sheet(seed, 8 * index + number) for number in range(8)]
    return seen + [(*sheet.base_views(), sheet.page) for sheet in sheets]
