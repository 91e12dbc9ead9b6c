"""Crops: a region of the full-resolution picture under a token budget, as pass 2 reads it."""

from __future__ import annotations

import math

from PIL import Image

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images.grids import CELL, view_grid
from rpn_plugin.images.scaling import scale_to_grid

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the original picture."""


def crop_box(
    box: tuple[float, float, float, float], size: tuple[int, int], least: int = CELL
) -> PixelBox:
    """`box` widened to whole pixels and to `least` pixels a side, inside a picture of `size`.

    A picture smaller than `least` on a side is taken whole on that side.
    """
    x0, x1 = _span(box[0], box[2], size[0], least)
    y0, y1 = _span(box[1], box[3], size[1], least)
    return x0, y0, x1, y1


def crop_view(
    picture: Image.Image, box: PixelBox, tokens: int, grid: ImageGrid = QWEN2_5_VL.image
) -> Image.Image:
    """What is inside `box` of the RGB `picture`, scaled to about `tokens` visual tokens.

    Where the family shows squares, it is stretched to one, as the released code does: no token is
    spent on padding.
    """
    crop = picture.crop(box)
    return scale_to_grid(crop, view_grid(crop.size, tokens, enlarge=True, image=grid), grid.cell)


def _span(start: float, stop: float, limit: int, least: int) -> tuple[int, int]:
    low, high = math.floor(start), math.ceil(stop)
    missing = max(0, min(least, limit) - (high - low))
    low = max(0, min(low - missing // 2, limit - (high - low) - missing))
    return low, max(high, low + min(least, limit))
