"""Token budgets: how many rows and columns of visual tokens a view of a picture gets.

A VLM spends one visual token on each square cell of a view. The family declares how large a cell is
and which views the model's own image processor leaves as they are (`ImageGrid`). Views are whole
cells, so that the processor has nothing left to resize and the base view and the crop can have
budgets of their own. A family whose views are all squares of one size has no budgets.
"""

from __future__ import annotations

import math

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid

CELL = QWEN2_5_VL.image.cell
"""Pixels on a side of one visual token of Qwen2.5-VL."""


def view_grid(
    size: tuple[int, int],
    tokens: int,
    *,
    enlarge: bool = False,
    image: ImageGrid = QWEN2_5_VL.image,
) -> tuple[int, int]:
    """Rows and columns of visual tokens for a picture of `size` (width, height) pixels.

    At most `max(tokens, image.least_cells)` cells, at least `image.least_cells`, with the picture's
    aspect ratio kept as well as whole cells allow, up to `image.max_aspect`. `enlarge` scales small
    pictures up to the budget (crops); without it a picture is never shown larger than it is, except
    for rounding to whole cells. A family of square views has one grid for every picture.
    """
    if image.square is not None:
        return image.square, image.square
    width, height = size
    least = image.least_cells
    tokens = max(tokens, least)
    rows, cols = height / image.cell, width / image.cell
    if enlarge or rows * cols > tokens:
        shrink = math.sqrt(tokens / (rows * cols))
        rows, cols = rows * shrink, cols * shrink
    best = _nearest_grid(rows, cols, tokens, least)
    if best[0] * best[1] < least:
        best = _least_grid(rows, cols, tokens, least)
    rows, cols = best
    return min(rows, cols * image.max_aspect), min(cols, rows * image.max_aspect)


def _nearest_grid(rows: float, cols: float, tokens: int, least: int) -> tuple[int, int]:
    """The whole grid of at most `tokens` cells that best keeps the size and shape rows x cols.

    Of at least `least` cells too, where rounding rows and cols gives one.
    """
    candidates = [
        (r, min(c, tokens // r))
        for r in {max(1, math.floor(rows)), max(1, math.ceil(rows))}
        for c in {max(1, math.floor(cols)), max(1, math.ceil(cols))}
        if r <= tokens
    ] or [(tokens, 1)]
    enough = [(r, c) for r, c in candidates if r * c >= least]
    return _nearest(enough or candidates, rows, cols)


def _least_grid(rows: float, cols: float, tokens: int, least: int) -> tuple[int, int]:
    """The smallest whole grids allowed, of which the one that best keeps the shape rows x cols."""
    grow = math.sqrt(least / (rows * cols))
    candidates = [
        (r, math.ceil(least / r)) for r in range(1, least + 1) if r * math.ceil(least / r) <= tokens
    ]
    return _nearest(candidates, rows * grow, cols * grow)


def _nearest(grids: list[tuple[int, int]], rows: float, cols: float) -> tuple[int, int]:
    return min(grids, key=lambda g: (abs(math.log(g[0] / rows)) + abs(math.log(g[1] / cols)), g))
