"""The sizes at which the model sees a picture: the base view and the crop, each under a budget.

A VLM of the Qwen2-VL line spends one visual token on each CELL x CELL pixel square. Views are
scaled here, to whole cells, so that the model's own image processor has nothing left to resize and
base view and crop can have budgets of their own.
"""

from __future__ import annotations

import math

from PIL import Image

from rpn_plugin.families import QWEN2_5_VL

CELL = QWEN2_5_VL.cell
"""Pixels on a side of one visual token."""

MIN_CELLS = 4
"""Qwen2-VL's image processor enlarges anything smaller than 56 x 56 pixels; views never are."""

MAX_ASPECT = 200
"""Qwen2-VL's image processor refuses a picture longer than this many times its width."""


def view_grid(size: tuple[int, int], tokens: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Rows and columns of visual tokens for a picture of `size` (width, height) pixels.

    At most `max(tokens, MIN_CELLS)` cells, at least MIN_CELLS, with the picture's aspect ratio kept
    as well as whole cells allow, up to MAX_ASPECT. `enlarge` scales small pictures up to the budget
    (crops); without it a picture is never shown larger than it is, but for rounding to whole cells.
    """
    width, height = size
    tokens = max(tokens, MIN_CELLS)
    rows, cols = height / CELL, width / CELL
    if enlarge or rows * cols > tokens:
        shrink = math.sqrt(tokens / (rows * cols))
        rows, cols = rows * shrink, cols * shrink
    best = _nearest_grid(rows, cols, tokens)
    if best[0] * best[1] < MIN_CELLS:
        best = _nearest_grid(*_at_least(rows, cols, MIN_CELLS), tokens)
    return min(best[0], best[1] * MAX_ASPECT), min(best[1], best[0] * MAX_ASPECT)


def scale_to_grid(image: Image.Image, grid: tuple[int, int]) -> Image.Image:
    """`image` resized (antialiased bicubic) to `grid` = (rows, cols) whole cells."""
    rows, cols = grid
    target = (cols * CELL, rows * CELL)
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def _at_least(rows: float, cols: float, cells: int) -> tuple[float, float]:
    grow = max(1.0, math.sqrt(cells / (rows * cols)))
    return rows * grow, cols * grow


def _nearest_grid(rows: float, cols: float, tokens: int) -> tuple[int, int]:
    """The whole grid of at most `tokens` cells that best keeps the size and shape rows x cols.

    Of at least MIN_CELLS too, where rows x cols is.
    """
    candidates = [
        (r, min(c, tokens // r))
        for r in {max(1, math.floor(rows)), max(1, math.ceil(rows))}
        for c in {max(1, math.floor(cols)), max(1, math.ceil(cols))}
        if r <= tokens
    ] or [(tokens, 1)]
    enough = [(r, c) for r, c in candidates if r * c >= MIN_CELLS]
    return min(
        enough or candidates,
        key=lambda g: (abs(math.log(g[0] / rows)) + abs(math.log(g[1] / cols)), g),
    )
