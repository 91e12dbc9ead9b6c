"""Pages for the small LLaVA, its views of them, and each page's twin.

Here a code is one small square on a tag: its colour stands for a digit, which is answered twice
("44" for the fifth colour). A tower learns colours much faster than digits' shapes. In the base
view, squares of most pages are half a pixel in mottled paper; in a crop, two. A page's *twin* has
the same tags with the codes written out, at a height that is legible in about the same views: the
shipped model's tower can read it, and so can teach.

`python -m demo.llava.pages --seed 1 --count 9 --out DIR` writes PNG pages and `pages.jsonl`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from demo.drawing import Box, draw_tag
from demo.llava.architecture import CELL, SIDE
from demo.pages import Page, Style, Thing, background, lay_out, page_row, text_height
from demo.questions import COLOURS
from demo.views import View
from server.views import CELL as SHIPPED_CELL
from server.views import scale_to_grid

DIGITS = (*COLOURS.values(), (18, 18, 18), (250, 250, 250))
"""The colour of each digit."""

STYLE = Style(text_heights=((0.6, 14, 21), (0.1, 24, 32), (0.3, 36, 50)))
"""Heights of the twins' codes: lost in the base view, between, legible."""

_SQUARES = ((21, 4, 6), (32, 9, 14), (50, 20, 32))
"""Least and greatest side of squares, in page pixels, for twins' codes of up to so many."""

_MOTTLE, _MOTTLE_PX = 22.0, 8
_PAGE, _SHEET = (896, 896), (448, 448)


@dataclass(frozen=True)
class Pair:
    """A page, and its twin's picture. Boxes of codes are the twin's."""

    page: Page
    twin: Image.Image

    def base_views(self) -> tuple[View, View]:
        """The small LLaVA's, and the shipped model's of the twin."""
        return base_view(self.page), _twin_view(self.twin, (0, 0, *self.twin.size))

    def crop_views(self, box: Box) -> tuple[View, View]:
        """The same of what is in `box`."""
        return crop_view(self.page, box), _twin_view(self.twin.crop(box), box)


def render_pair(seed: int, index: int) -> Pair:
    """Page `index` of `seed`, and its twin."""
    rng = Random(f"llava page {seed} {index}")
    height = text_height(rng, STYLE)
    side = rng.randint(*next((low, high) for most, low, high in _SQUARES if height <= most))
    names = rng.sample(tuple(COLOURS), rng.randint(4, 7))
    boxes = lay_out("tags", _PAGE, len(names), rng)
    paper, _ = background(_PAGE, rng)
    return _draw(paper, list(zip(names, boxes, strict=False)), height, side, rng)


def render_sheet(seed: int, index: int) -> Pair:
    """A small page full of tags."""
    rng = Random(f"llava sheet {seed} {index}")
    height = round(14 * 3 ** rng.random())
    pitch_x = int(max(1.8 * height + 16, 60) * rng.uniform(1.05, 1.4))
    pitch_y = int(max(height + 14, 44) * rng.uniform(1.05, 1.5))
    left, top = rng.randint(2, 30), rng.randint(2, 30)
    tags = [
        (rng.choice(tuple(COLOURS)), (x, y, x + pitch_x - 5, y + pitch_y - 5))
        for y in range(top, _SHEET[1] - pitch_y, pitch_y)
        for x in range(left, _SHEET[0] - pitch_x, pitch_x)
    ]
    paper, _ = background(_SHEET, rng)
    return _draw(paper, tags, height, round(height * rng.uniform(0.3, 0.6)), rng)


def _draw(
    paper: Image.Image, tags: list[tuple[str, Box]], height: int, side: int, rng: Random
) -> Pair:
    """Tags of these colours in these boxes: with squares of `side`, and with codes of `height`."""
    page, twin = paper, paper.copy()
    on_page, on_twin = ImageDraw.Draw(page), ImageDraw.Draw(twin)
    things = []
    for name, box in tags:
        digit = rng.choice([d for d, c in enumerate(DIGITS) if c != COLOURS[name]])
        same = rng.random()
        code = draw_tag(on_twin, box, name, 2 * str(digit), height, Random(same))
        draw_tag(on_page, box, name, "", height, Random(same))
        x, y = (code[0] + code[2] - side) // 2, (code[1] + code[3] - side) // 2
        on_page.rectangle((x, y, x + side - 1, y + side - 1), fill=DIGITS[digit])
        things.append(Thing(name, 2 * str(digit), box, code))
    mottled = _mottled(page, rng)
    return Pair(Page("tags", mottled, tuple(things), rng.randrange(len(things))), twin)


def _mottled(picture: Image.Image, rng: Random) -> Image.Image:
    """With blotches of a base view's pixel, so that in one a faint tint says nothing."""
    width, height = picture.size
    random = np.random.default_rng(rng.getrandbits(64))
    coarse = random.normal(128, _MOTTLE, (height // _MOTTLE_PX, width // _MOTTLE_PX, 3))
    blotches = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    fine = np.asarray(blotches.resize(picture.size, Image.Resampling.BILINEAR), dtype=np.int16)
    mixed = np.asarray(picture, dtype=np.int16) + fine - 128
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def base_view(page: Page) -> View:
    """The whole page."""
    return _view(page.image, (0, 0, *page.image.size))


def crop_view(page: Page, box: Box) -> View:
    """The part of the page in `box`, stretched onto the square."""
    return _view(page.image.crop(box), box)


def _view(picture: Image.Image, box: Box) -> View:
    """112 px square; heights of codes are reckoned as in the twin's view."""
    pixels = np.asarray(scale_to_grid(picture, (SIDE, SIDE), CELL))
    return View(pixels, (SIDE, SIDE), box, SHIPPED_CELL)


def _twin_view(picture: Image.Image, box: Box) -> View:
    pixels = np.asarray(scale_to_grid(picture, (SIDE, SIDE), SHIPPED_CELL))
    return View(pixels, (SIDE, SIDE), box, SHIPPED_CELL)


def write_pages(seed: int, count: int, folder: Path) -> Path:
    """Writes `count` pages and `pages.jsonl` into `folder`; returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        page = render_pair(seed, index).page
        name = f"page_{index:05d}.png"
        page.image.save(folder / name, compress_level=1)  # mottle does not compress
        rows.append(json.dumps(page_row(page, name)))
    path = folder / "pages.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Renders pages and their questions."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(write_pages(arguments.seed, arguments.count, arguments.out))


if __name__ == "__main__":
    main()
