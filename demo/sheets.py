"""Sheets: small pictures full of coloured tags with codes, to learn reading from.

A page shows a handful of codes; a sheet shows dozens, at the sizes that codes have in views. The
same words and the same font, so what is learnt on sheets is what pages need.
"""

from __future__ import annotations

from random import Random

from PIL import Image, ImageDraw

from demo.drawing import draw_tag
from demo.pages import Page, Thing
from demo.questions import COLOURS
from demo.views import View, base_view

_SIDE = 448
"""Sheets are drawn at twice the size they are seen at, so that they are as smooth as views."""


def render_sheet(seed: int, index: int) -> tuple[Page, View]:
    """Sheet `index` of `seed`, and the view of it: 8 x 8 cells."""
    rng = Random(f"sdrpn demo sheet {seed} {index}")
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
    page = Page("tags", image, tuple(things), 0)
    return page, base_view(page)
