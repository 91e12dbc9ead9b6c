"""Draws one thing of a page: a coloured tag with a code on it, or a sign: a circle and a code."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from PIL import ImageDraw, ImageFont

from demo.pictures.questions import COLOURS

Box = tuple[int, int, int, int]
"""Pixels x0, y0, x1, y1, half-open."""

DIGIT_HEIGHT = 0.71
"""Height of a digit of Pillow's built-in font, as a share of the font size."""


@lru_cache(maxsize=128)
def font_for(text_height: int) -> ImageFont.FreeTypeFont:
    """Pillow's built-in font at the size that makes digits `text_height` pixels tall."""
    font = ImageFont.load_default(max(6.0, round(text_height / DIGIT_HEIGHT)))
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def draw_tag(
    draw: ImageDraw.ImageDraw, box: Box, colour: str, code: str, height: int, rng: Random
) -> Box:
    """Draws a tag filling `box` with its code somewhere on it; returns the code's box."""
    fill = _vary(COLOURS[colour], 14, rng)
    ink = (18, 18, 18) if _luminance(fill) > 110 else (252, 252, 252)
    edge = tuple(int(c * 0.6) for c in fill) if rng.random() < 0.5 else None
    draw.rounded_rectangle(
        _inside(box), radius=rng.choice((4, 12, 20)), fill=fill, outline=edge, width=3
    )
    return _write(draw, box, code, height, ink, rng)


def draw_sign(
    draw: ImageDraw.ImageDraw, box: Box, colour: str, code: str, height: int, rng: Random
) -> Box:
    """Draws a card filling `box`: a circle left of or above its code; returns the code's box."""
    paper = _vary((250, 250, 248), 5, rng)
    draw.rounded_rectangle(_inside(box), radius=6, fill=paper, outline=(90, 90, 90), width=2)
    x0, y0, x1, y1 = box
    side = min(y1 - y0 - 20, x1 - x0 - 20, 72)
    wide = x1 - x0 > y1 - y0
    left = x0 + 12 if wide else (x0 + x1 - side) // 2
    top = (y0 + y1 - side) // 2 if wide else y0 + 12
    fill = _vary(COLOURS[colour], 14, rng)
    draw.ellipse((left, top, left + side, top + side), fill=fill)
    room = (left + side + 4, y0, x1 - 4, y1) if wide else (x0, top + side + 4, x1, y1 - 4)
    return _write(draw, room, code, height, (20, 20, 20), rng)


def _write(
    draw: ImageDraw.ImageDraw,
    room: Box,
    code: str,
    height: int,
    ink: tuple[int, int, int],
    rng: Random,
) -> Box:
    """Writes `code` at a random spot well inside `room`."""
    font = font_for(height)
    left, top, right, bottom = (round(v) for v in font.getbbox(code))
    width, tall = right - left, bottom - top
    x = _spot(room[0], room[2], width, rng)
    y = _spot(room[1], room[3], tall, rng)
    draw.text((x - left, y - top), code, font=font, fill=ink)
    return x, y, x + width, y + tall


def _spot(low: int, high: int, length: int, rng: Random) -> int:
    """Where to begin `length` pixels in [low, high), near the middle."""
    slack = max(0, high - low - length)
    return low + round(slack / 2 + (rng.random() - 0.5) * max(0, slack - 16) * 0.6)


def _vary(colour: tuple[int, int, int], spread: int, rng: Random) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, c + rng.randint(-spread, spread))) for c in colour)
    return red, green, blue


def _luminance(colour: tuple[int, int, int]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _inside(box: Box) -> Box:
    """Pillow's rectangles include their last row and column."""
    return box[0], box[1], box[2] - 1, box[3] - 1
