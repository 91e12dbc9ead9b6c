"""Other ways to scale a picture down to its base view: box-averaged first, or by torch.

Printed beside the times: how far the views' pixels are from the present ones, in levels of 255.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from demo.pages import render_page
from loadtests.ideas.alternating import alternate
from server.views import CELL, view_grid

_EACH = 5
_SIZES = (((896, 896), 64), ((1920, 1080), 576), ((4000, 3000), 576))
"""Pictures (width, height) and the visual tokens of their views."""


def measure(rounds: int) -> None:
    """A page as it is, and enlarged to larger pictures' sizes."""
    for size, tokens in _SIZES:
        rows, cols = view_grid(size, tokens)
        _compare(render_page(0, 0).image.resize(size), (cols * CELL, rows * CELL), rounds)


def _compare(picture: Image.Image, target: tuple[int, int], rounds: int) -> None:
    ways: dict[str, Callable[[], Image.Image]] = {
        "bicubic": lambda: picture.resize(target, Image.Resampling.BICUBIC),
        "box-averaged first, 3 times": lambda: _gap(picture, target, 3.0),
        "box-averaged first, twice": lambda: _gap(picture, target, 2.0),
        "by torch": lambda: _by_torch(picture, target),
    }

    def scale(way: Callable[[], Image.Image]) -> Callable[[int], object]:
        return lambda number: [way() for _ in range(_EACH)]

    timed = alternate({name: scale(way) for name, way in ways.items()}, rounds)
    print(f"\n{_EACH} pictures of {picture.size} to {target}")
    timed.print("bicubic")
    now = np.asarray(ways["bicubic"]()).astype(int)
    for name, way in ways.items():
        off = abs(np.asarray(way()).astype(int) - now)
        print(f"{name:28} {off.max()} levels at most, {off.mean():.3f} in the mean")


def _gap(picture: Image.Image, target: tuple[int, int], gap: float) -> Image.Image:
    return picture.resize(target, Image.Resampling.BICUBIC, reducing_gap=gap)


def _by_torch(picture: Image.Image, target: tuple[int, int]) -> Image.Image:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    scaled = torch.nn.functional.interpolate(
        pixels, (target[1], target[0]), mode="bicubic", antialias=True
    )
    return Image.fromarray(scaled[0].permute(1, 2, 0).numpy())
