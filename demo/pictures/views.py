"""What the model sees of a page in training: the base view and crops.

Grids and budgets are those of the server. Boxes of crops imitate an imperfect region proposal:
whole base cells around a thing, sometimes a cell too many or too few, sometimes a loose box,
sometimes a box elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.pages import BASE_TOKENS, CROP_TOKENS, Page
from demo.pictures.drawing import Box
from rpn_plugin.images.grids import CELL, view_grid


@dataclass(frozen=True)
class View:
    """Pixels uint8 [rows * CELL, cols * CELL, 3] of `box`, in page pixels."""

    pixels: NDArray[np.uint8]
    grid: tuple[int, int]
    box: Box


def base_view(page: Page) -> View:
    """The whole page under the base token budget."""
    grid = view_grid(page.image.size, BASE_TOKENS)
    return View(_scaled(page.image, grid), grid, (0, 0, *page.image.size))


def crop_view(page: Page, box: Box) -> View:
    """The part of the page in `box`, scaled to the crop token budget."""
    crop = page.image.crop(box)
    grid = view_grid(crop.size, CROP_TOKENS, enlarge=True)
    return View(_scaled(crop, grid), grid, box)


def _scaled(picture: Image.Image, grid: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture resized to a grid of (rows, columns) cells.

    This is plain antialiased bicubic, which made the views that the shipped weights learned from.
    `scale_to_grid` of the server averages large pictures in boxes first. Its pixels differ by less
    than a tenth of a level in the mean, but a recipe has to keep to the pixels of its weights.
    """
    rows, cols = grid
    return np.asarray(picture.resize((cols * CELL, rows * CELL), Image.Resampling.BICUBIC))


def proposed_box(page: Page, target: Box, rng: Random) -> Box:
    """A box around `target`, about as a region proposal network would give it."""
    if rng.random() < 0.25:
        return _loose_box(page.image, target, rng)
    rows, cols = view_grid(page.image.size, BASE_TOKENS)
    cell_w, cell_h = page.image.width / cols, page.image.height / rows
    x0, x1 = _snap(target[0] / cell_w, target[2] / cell_w, cols, rng)
    y0, y1 = _snap(target[1] / cell_h, target[3] / cell_h, rows, rng)
    return int(x0 * cell_w), int(y0 * cell_h), int(x1 * cell_w), int(y1 * cell_h)


def random_box(page: Page, rng: Random) -> Box:
    """A box anywhere on the page, of a size that regions have."""
    width, height = rng.randint(100, 360), rng.randint(100, 360)
    x = rng.randint(0, page.image.width - width)
    y = rng.randint(0, page.image.height - height)
    return x, y, x + width, y + height


def _snap(low: float, high: float, cells: int, rng: Random) -> tuple[int, int]:
    """The cells that [low, high) covers by more than a random share, at times one more."""
    enough = rng.uniform(0.02, 0.35)
    first = min(int(low + 1 - enough), cells - 1)
    last = max(int(high + 1 - enough), first + 1)
    if rng.random() < 0.2:
        first -= 1
    if rng.random() < 0.2:
        last += 1
    return max(0, first), min(cells, last)


def _loose_box(image: Image.Image, target: Box, rng: Random) -> Box:
    room = rng.choice((0, 10, 40, 80, 120))
    margins = [round(rng.random() * room) for _ in range(4)]
    return (
        max(0, target[0] - margins[0]),
        max(0, target[1] - margins[1]),
        min(image.width, target[2] + margins[2]),
        min(image.height, target[3] + margins[3]),
    )


def scale(view: View) -> tuple[float, float]:
    """View pixels per page pixel, horizontally and vertically."""
    rows, cols = view.grid
    return (
        cols * CELL / (view.box[2] - view.box[0]),
        rows * CELL / (view.box[3] - view.box[1]),
    )
