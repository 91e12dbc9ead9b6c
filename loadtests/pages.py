"""Pictures for load: pages of text with a coloured circle and a code, each different.

vLLM caches by a picture's content, so a picture sent twice would measure the cache. Every page
therefore has random words of its own.
"""

from __future__ import annotations

import base64
import io
import random
import threading
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageDraw, ImageFont

Format = Literal["PNG", "JPEG", "WEBP"]
FORMATS: tuple[Format, ...] = get_args(Format)

A4 = (840, 1188)
"""Pixels of a page at 100 dots an inch."""

SIZES: tuple[tuple[int, int], ...] = ((160, 120), (640, 480), A4, (1600, 900), (1680, 2376))
"""From a thumbnail to a scan."""

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")


@dataclass(frozen=True)
class Page:
    """An encoded picture, and what a question about it can ask for."""

    data: bytes
    format: Format
    colour: str
    code: str

    @property
    def url(self) -> str:
        """The page as a data: URL."""
        encoded = base64.b64encode(self.data).decode()
        return f"data:image/{self.format.lower()};base64,{encoded}"

    @property
    def question(self) -> str:
        """A question that the page answers."""
        return f"What is the code by the {self.colour} circle?"


class Pages:
    """A source of pages, all different; `seed` fixes the series. Threads may share it."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def next(self, size: tuple[int, int] = A4, format: Format = "PNG") -> Page:
        """The next page."""
        with self._lock:
            seed = self._random.getrandbits(64)
        return draw(seed, size, format)


def draw(seed: int, size: tuple[int, int] = A4, format: Format = "PNG") -> Page:
    """The page of that seed."""
    dice = random.Random(seed)
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    line = max(10, width // 60)
    small = ImageFont.load_default(line * 0.7)
    for y in range(line, height - line, line):
        words = (dice.randbytes(dice.randint(1, 5)).hex() for _ in range(10))
        pen.text((line, y), " ".join(words), fill="black", font=small)
    colour, code = dice.choice(COLOURS), f"{dice.randrange(100):02}"
    radius = max(6, width // 30)
    x, y = dice.randint(radius, width - 3 * radius), dice.randint(radius, height - radius)
    pen.rectangle((x - radius, y - radius, x + 3 * radius, y + radius), fill="white")
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    pen.text(
        (x + 1.4 * radius, y - radius), code, fill="black", font=ImageFont.load_default(radius)
    )
    file = io.BytesIO()
    image.save(file, format, **({"compress_level": 1} if format == "PNG" else {}))
    return Page(file.getvalue(), format, colour, code)
