"""Base views and crops as vLLM's chat handler takes them, each named by its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images import base_view as base_views
from rpn_plugin.images import crops
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
    """The whole picture under a budget of `tokens`; see `rpn_plugin.images.base_view`."""
    view = base_views.base_view(picture.image, tokens, image)
    return _view(view, picture.digest, image)


def crop_view(
    picture: Picture,
    box: tuple[float, float, float, float],
    tokens: int,
    image: ImageGrid = QWEN2_5_VL.image,
) -> View:
    """What is inside `box` (pixels, inside the picture) under a budget of `tokens`."""
    pixels = crops.crop_box(box, picture.image.size, image.cell)
    view = crops.crop_view(picture.image, pixels, tokens, image)
    return _view(view, f"{picture.digest}-{','.join(map(str, pixels))}", image)


def _view(view: Image.Image, name: str, image: ImageGrid) -> View:
    rows, cols = grid = view.height // image.cell, view.width // image.cell
    return View(view, grid, f"{name}-{rows}x{cols}")
