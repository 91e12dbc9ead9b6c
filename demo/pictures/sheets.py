"""Sheets: small pictures full of things with codes, from which the vision tower learns to read.

A page shows a handful of codes; a sheet shows dozens, at the sizes that codes have in views, with
the same colours and the same font.
"""

from __future__ import annotations

from random import Random

from PIL import Image, ImageDraw

from demo.pages import Page, Thing, background, thing_size
from demo.pictures.drawing import draw_sign, draw_tag
from demo.pictures.questions import COLOURS
from demo.pictures.views import View, base_view

_SIDE = 448
"""Sheets of tags are drawn at twice the size of their view, to be as smooth as views of pages."""


def render_sheet(seed: int, index: int) -> tuple[Page, View]:
    """Sheet `index` of `seed`, and the view of it: 8 x 8 cells."""
    rng = Random(f"sdrpn demo sheet {seed} {index}")
    page = _tags(rng) if index % 2 else _signs(rng)
    return page, base_view(page)


def _tags(rng: Random) -> Page:
    """Tags hardly larger than their codes."""
    height = round(2 * 6.5 * 5.0 ** rng.random())
    width = int(1.8 * height)
    pitch_x = int(max(width + 16, 60) * rng.uniform(1.05, 1.4))
    pitch_y = int(max(height + 14, 44) * rng.uniform(1.05, 1.5))
    shade = rng.randint(200, 250)
    image = Image.new("RGB", (_SIDE, _SIDE), (shade, shade, shade))
    draw = ImageDraw.Draw(image)
    left, top = rng.randint(2, 30), rng.randint(2, 30)
    things = []
    for y in range(top, _SIDE - pitch_y, pitch_y):
        for x in range(left, _SIDE - pitch_x, pitch_x):
            box = (x, y, x + pitch_x - rng.randint(2, 8), y + pitch_y - rng.randint(2, 8))
            name, code = rng.choice(tuple(COLOURS)), f"{rng.randrange(100):02d}"
            text = draw_tag(draw, box, name, code, height, rng)
            things.append(Thing(name, code, box, text))
    return Page("tags", image, tuple(things), things[0])


def _signs(rng: Random) -> Page:
    """A page full of signs, from the size of a base view up to that of a crop."""
    side = round(224 / (0.24 * 3.5 ** rng.random()))
    image, draw = background((side, side), rng)
    height = rng.choice((rng.randint(12, 20), rng.randint(20, 50), rng.randint(36, 50)))
    wide, tall = thing_size("signs", rng)
    left, top, gap = rng.randint(2, 40), rng.randint(2, 40), rng.randint(6, 50)
    things = []
    for y in range(top, side - tall, tall + gap):
        for x in range(left, side - wide, wide + gap):
            box = (x, y, x + wide, y + tall)
            name, code = rng.choice(tuple(COLOURS)), f"{rng.randrange(100):02d}"
            text = draw_sign(draw, box, name, code, height, rng)
            things.append(Thing(name, code, box, text))
    return Page("signs", image, tuple(things), things[0])
