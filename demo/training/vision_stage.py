"""Stage 1: the vision tower learns to name things and to read digits, from labels of every cell.

Small linear heads read from each visual token the colour and the code of the thing below it, and
from each patch the digit on it. They are dropped after this stage. A picture has some hundred
labels this way; with one answer a picture the tower did not learn to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demo.architecture import HIDDEN, VISION_HIDDEN
from demo.pages import render_page
from demo.pictures.sheets import render_sheet
from demo.pictures.views import base_view, crop_view, proposed_box, random_box
from demo.training.background import in_background
from demo.training.device import bfloat16, device_of
from demo.training.stage import Optimizers, Stage
from demo.training.vision import vision_features
from demo.training.vision_labels import IGNORE, NAMES, NO_DIGIT, dense_labels

VISION_SEED = 101
FEATURE_STD = 0.5
"""Spread of visual tokens that the language model starts from (its words have 0.25)."""

_BATCH = 16
_SHEETS = 6
"""Sheets beside each page's seven views."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Pixels [batch, height, width, 3], labels of cells and of patches."""


class DenseHeads(nn.Module):
    """Linear readers of visual tokens and patches, for this stage only."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(HIDDEN, len(NAMES) + 1 + 20)  # names, nothing, two digits
        self.patch = nn.Linear(VISION_HIDDEN, 2 * (NO_DIGIT + 1))

    def loss(self, hidden: Tensor, tokens: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy over all labels, and shares of right answers by text height."""
        _, cells, patches = batch
        name, tens, units = self.cell(tokens).float().split((len(NAMES) + 1, 10, 10), -1)
        written = self.patch(hidden).float().unflatten(-1, (2, NO_DIGIT + 1))
        rare = torch.ones(NO_DIGIT + 1)
        rare[NO_DIGIT] = 0.1
        loss = (
            _cross_entropy(name, cells[..., 0])
            + _cross_entropy(tens, cells[..., 1])
            + _cross_entropy(units, cells[..., 2])
            + _cross_entropy(written, patches, rare)
        )
        numbers = _accuracies(name, tens, units, cells)
        digits = (patches >= 0) & (patches < NO_DIGIT)
        numbers["digit"] = (written.argmax(-1) == patches)[digits].float().mean().item()
        return loss, numbers


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    return F.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), weight=weight, ignore_index=IGNORE
    )


def _accuracies(name: Tensor, tens: Tensor, units: Tensor, cells: Tensor) -> dict[str, float]:
    named = (cells[..., 0] >= 0) & (cells[..., 0] < len(NAMES))
    numbers = {"name": (name.argmax(-1) == cells[..., 0])[named].float().mean().item()}
    right = (tens.argmax(-1) == cells[..., 1]) & (units.argmax(-1) == cells[..., 2])
    for low, high in ((5, 8), (8, 12), (12, 24), (24, 200)):
        chosen = (cells[..., 1] >= 0) & (cells[..., 3] >= low) & (cells[..., 3] < high)
        if chosen.any():
            numbers[f"code {low}-{high}px"] = right[chosen].float().mean().item()
    return numbers


def train_vision(model: Any, folder: Path, steps: int) -> None:
    """Trains `model.model.visual` in place, or loads it if this stage is finished."""
    tower, heads = model.model.visual, DenseHeads()
    both = nn.ModuleDict({"tower": tower, "heads": heads})
    optimizers = Optimizers(both, matrices="tower")
    stage = Stage("vision", folder, steps, {"modules": both, "optimizers": optimizers})
    if stage.done < steps:
        batches = in_background(_batches, VISION_SEED + 1000 * stage.done)

        def step(number: int) -> dict[str, float]:
            batch = _tensors(next(batches), device_of(tower))
            with bfloat16(tower):
                loss, numbers = heads.loss(*vision_features(tower, batch[0]), batch)
            loss.backward()
            optimizers.step(number / steps)
            return {"loss": loss.item(), **numbers}

        stage.run(step)
        batches.close()  # type: ignore[attr-defined]


@torch.no_grad()
def normalise_features(tower: Any) -> None:
    """Gives visual tokens mean 0 and spread FEATURE_STD by changing the merger's last layer."""
    views = [base_view(render_page(VISION_SEED - 1, i)) for i in range(64)]
    square = [v.pixels for v in views if v.grid == (8, 8)]
    _, tokens = vision_features(tower, torch.from_numpy(np.stack(square)).to(device_of(tower)))
    last = tower.merger.mlp[-1]
    mean = tokens.flatten(0, 1).mean(0)
    factor = FEATURE_STD / (tokens - mean).std()
    last.weight.mul_(factor)
    last.bias.sub_(mean).mul_(factor)


def _tensors(arrays: tuple[np.ndarray[Any, Any], ...], device: torch.device) -> Batch:
    pixels, cells, patches = (torch.from_numpy(a).to(device) for a in arrays)
    return pixels, cells, patches


def _batches(seed: int) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    """Endless batches of views of one size each."""
    waiting: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    index = 0
    while True:
        page = render_page(seed, index)
        rng = Random(f"vision {seed} {index}")
        index += 1
        boxes = [proposed_box(page, rng.choice(page.things).box, rng) for _ in range(5)]
        boxes.append(random_box(page, rng))
        views = [(page, base_view(page)), *((page, crop_view(page, box)) for box in boxes)]
        views += [render_sheet(seed, _SHEETS * index + k) for k in range(_SHEETS)]
        for source, view in views:
            labels = dense_labels(source, view)
            bucket = waiting.setdefault(view.grid, [])
            bucket.append((view.pixels, labels.cells, labels.patches))
            if len(bucket) == _BATCH:
                yield tuple(np.stack(column) for column in zip(*bucket, strict=True))
                bucket.clear()
