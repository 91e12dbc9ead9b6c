"""The views the model gets of a picture: the base view of it all, and crops at full sharpness.

Both are made from the full-resolution original.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from PIL import Image

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images.scaling import CELL, base_picture, scale_to_grid, view_grid
from server.pictures.files import Picture


@dataclass(frozen=True, eq=False)
class View:
    """A picture as the model sees it: RGB pixels filling `grid` = (rows, cols) visual tokens.

    `uuid` names the pixels: equal for equal views of the same file, different otherwise. vLLM finds
    cached encoder outputs and prompt prefixes by it, without hashing pixels.
    """

    image: Image.Image
    grid: tuple[int, int]
    uuid: str

    def part(self) -> dict[str, Any]:
        """The content part that hands this view to vLLM's chat handler (its `image_pil` type)."""
        return {"type": "image_pil", "image_pil": self.image, "uuid": self.uuid}


def base_view(picture: Picture, tokens: int, image: ImageGrid = QWEN2_5_VL.image) -> View:
    """All of the picture, scaled down to at most `tokens` visual tokens; padded, where `image` says
    that views are squares.
    """
    view = base_picture(picture.image, tokens, image)
    rows, cols = grid = view.height // image.cell, view.width // image.cell
    return View(view, grid, f"{picture.digest}-{rows}x{cols}")


def crop_view(
    picture: Picture,
    box: tuple[float, float, float, float],
    tokens: int,
    image: ImageGrid = QWEN2_5_VL.image,
) -> View:
    """What is inside `box` (pixels, inside the picture), scaled to about `tokens` visual tokens.

    Onto a square it is stretched, as the released code does: no token is spent on padding.
    """
    x0, y0, x1, y1 = crop_box(box, picture.image.size, image.cell)
    rows, cols = grid = view_grid((x1 - x0, y1 - y0), tokens, enlarge=True, image=image)
    crop = scale_to_grid(picture.image.crop((x0, y0, x1, y1)), grid, image.cell)
    return View(crop, grid, f"{picture.digest}-{x0},{y0},{x1},{y1}-{rows}x{cols}")


def crop_box(
    box: tuple[float, float, float, float], size: tuple[int, int], least: int = CELL
) -> tuple[int, int, int, int]:
    """`box` widened to whole pixels and to `least` pixels a side, inside a picture of `size`.

    A picture smaller than `least` on a side is taken whole on that side.
    """
    x0, x1 = _span(box[0], box[2], size[0], least)
    y0, y1 = _span(box[1], box[3], size[1], least)
    return x0, y0, x1, y1


def _span(start: float, stop: float, limit: int, least: int) -> tuple[int, int]:
    low, high = math.floor(start), math.ceil(stop)
    missing = max(0, min(least, limit) - (high - low))
    low = max(0, min(low - missing // 2, limit - (high - low) - missing))
    return low, max(high, low + min(least, limit))
