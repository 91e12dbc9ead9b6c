"""The base view: the whole picture under a token budget, as pass 1 reads it."""

from __future__ import annotations

from PIL import Image

from rpn_plugin.families import QWEN2_5_VL
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images.grids import view_grid
from rpn_plugin.images.scaling import scale_to_grid

LARGEST_SQUARE = 4096
"""Pixels on a side; far more than the view of any family has."""


def base_view(picture: Image.Image, tokens: int, grid: ImageGrid = QWEN2_5_VL.image) -> Image.Image:
    """The whole RGB `picture`, scaled down to at most `tokens` visual tokens of whole cells.

    Where the family shows squares, it is padded to one.
    """
    whole = picture if grid.square is None else pad_to_square(picture, grid.fill)
    return scale_to_grid(whole, view_grid(picture.size, tokens, image=grid), grid.cell)


def pad_to_square(picture: Image.Image, fill: tuple[int, int, int]) -> Image.Image:
    """`picture` in the middle of a square of its longer side, as LLaVA-1.5 was trained.

    Squares are at most LARGEST_SQUARE on a side, because the square of a long, thin picture has
    many times the picture's pixels.
    """
    side = max(picture.size)
    if side > LARGEST_SQUARE:
        width, height = (max(1, length * LARGEST_SQUARE // side) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        side = LARGEST_SQUARE
    if picture.size == (side, side):
        return picture
    square = Image.new("RGB", (side, side), fill)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square
