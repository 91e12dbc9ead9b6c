"""Pages of the demo: pictures with several things that carry codes, and one question about each.

There are two kinds of page: "tags" (coloured tags with a code on them) and "signs" (white cards
with a coloured circle beside or above the code). A question names a thing by its colour. Colours
are visible in the base view; the codes range from legible in it to lost. The same seed gives the
same bytes: `python -m demo.pages --seed 1 --count 9 --out DIR` writes PNG pages and `pages.jsonl`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from demo.pictures.drawing import Box, draw_sign, draw_tag
from demo.pictures.questions import COLOURS, code_question
from rpn_plugin.images.grids import CELL, view_grid

KINDS = ("tags", "signs")
SIZES = ((896, 896), (896, 896), (896, 896), (1064, 896), (896, 1064))
"""Page sizes (width, height) in pixels; square pages are the most common."""

BASE_TOKENS = 64
"""Base token budget the demo model is trained and served with."""

CROP_TOKENS = 64
"""Crop token budget the demo model is trained and served with."""

LEGIBLE_PX = 8.0
LOST_PX = 5.5
"""Text at least LEGIBLE_PX tall in the base view is legible, below LOST_PX it is lost."""

_TEXT_HEIGHTS = ((0.57, 12, 20), (0.15, 21, 34), (0.28, 36, 50))
"""Share of pages, least and greatest height of digits in page pixels."""

_GAP = 36
_EDGE = 14


@dataclass(frozen=True)
class Thing:
    """A labelled thing: `name` is its colour, `box` its outline, `text_box` its code's."""

    name: str
    code: str
    box: Box
    text_box: Box


@dataclass(frozen=True)
class Page:
    """A rendered page and the truth about it; `target` is the thing that its question is about."""

    kind: str
    image: Image.Image
    things: tuple[Thing, ...]
    target: Thing

    @property
    def question(self) -> str:
        """Asks for the code of the target."""
        return code_question(self.kind, self.target.name)


def render_page(seed: int, index: int) -> Page:
    """Page `index` of `seed`; the two numbers decide everything on it."""
    rng = Random(f"sdrpn demo page {seed} {index}")
    kind = KINDS[index % len(KINDS)]
    size = rng.choice(SIZES)
    _, low, high = rng.choices(_TEXT_HEIGHTS, [share for share, _, _ in _TEXT_HEIGHTS])[0]
    height = rng.randint(low, high)
    names = rng.sample(tuple(COLOURS), rng.randint(4, 7))
    codes = [f"{n:02d}" for n in rng.sample(range(100), len(names))]
    boxes = _lay_out(kind, size, len(names), rng)
    image, draw = background(size, rng)
    paint = draw_tag if kind == "tags" else draw_sign
    things = tuple(
        Thing(name, code, box, paint(draw, box, name, code, height, rng))
        for name, code, box in zip(names, codes, boxes, strict=False)
    )
    return Page(kind, image, things, things[rng.randrange(len(things))])


def text_px(page: Page) -> float:
    """Height of the target's code in the base view, in pixels."""
    rows, _ = view_grid(page.image.size, BASE_TOKENS)
    _, top, _, bottom = page.target.text_box
    return (bottom - top) * rows * CELL / page.image.height


def page_row(page: Page, image_name: str) -> dict[str, object]:
    """The page's line in `pages.jsonl`; `others` are the boxes of the other things."""
    target = page.target
    return {
        "image": image_name,
        "kind": page.kind,
        "question": page.question,
        "answer": target.code,
        "box": list(target.box),
        "text_px": round(text_px(page), 2),
        "others": [list(t.box) for t in page.things if t is not target],
    }


def write_pages(seed: int, count: int, folder: Path) -> Path:
    """Writes `count` pages and `pages.jsonl` into `folder`; returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        page = render_page(seed, index)
        name = f"page_{index:05d}.png"
        page.image.save(folder / name)
        rows.append(json.dumps(page_row(page, name)))
    path = folder / "pages.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def _lay_out(kind: str, size: tuple[int, int], count: int, rng: Random) -> list[Box]:
    """Up to `count` boxes that keep their distance: in neat rows or scattered."""
    sizes = [thing_size(kind, rng) for _ in range(count)]
    return (_neat_rows if rng.random() < 0.4 else _scattered)(size, sizes, rng)


def _scattered(size: tuple[int, int], sizes: list[tuple[int, int]], rng: Random) -> list[Box]:
    """Boxes of `sizes` anywhere on a page, apart from each other; fewer where there is no room."""
    boxes: list[Box] = []
    for width, height in sizes:
        for _ in range(60):
            x = rng.randint(_EDGE, size[0] - width - _EDGE)
            y = rng.randint(_EDGE, size[1] - height - _EDGE)
            box = (x, y, x + width, y + height)
            if all(_apart(box, other) for other in boxes):
                boxes.append(box)
                break
    return boxes


def _neat_rows(size: tuple[int, int], sizes: list[tuple[int, int]], rng: Random) -> list[Box]:
    """Boxes of `sizes` in some of the places of a regular grid."""
    columns, rows = 3, rng.choice((3, 4))
    slots = rng.sample(range(columns * rows), len(sizes))
    pitch_x, pitch_y = size[0] / columns, size[1] / rows
    left, top = rng.random(), rng.random()
    boxes = []
    for slot, (width, height) in zip(slots, sizes, strict=True):
        x = int(slot % columns * pitch_x + 10 + left * (pitch_x - width - 20))
        y = int(slot // columns * pitch_y + 10 + top * (pitch_y - height - 20))
        boxes.append((x, y, x + width, y + height))
    return boxes


def thing_size(kind: str, rng: Random) -> tuple[int, int]:
    """Width and height of a thing, in page pixels."""
    if kind == "tags":
        return rng.randint(112, 165), rng.randint(84, 120)
    if rng.random() < 0.5:
        return rng.randint(172, 192), rng.randint(88, 104)
    return rng.randint(104, 124), rng.randint(144, 172)


def _apart(a: Box, b: Box) -> bool:
    return a[2] + _GAP <= b[0] or b[2] + _GAP <= a[0] or a[3] + _GAP <= b[1] or b[3] + _GAP <= a[1]


def background(size: tuple[int, int], rng: Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Tinted paper, sometimes ruled, so that empty space is not one colour."""
    shade = rng.randint(205, 245)
    paper = tuple(min(255, shade + rng.randint(-8, 8)) for _ in range(3))
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    line = tuple(max(0, c - rng.randint(8, 30)) for c in paper)
    pattern = rng.choice(("plain", "ruled", "squared", "stripes"))
    pitch = rng.randint(36, 90)
    if pattern in ("ruled", "squared"):
        for y in range(pitch, size[1], pitch):
            draw.line((0, y, size[0], y), fill=line, width=2)
    if pattern == "squared":
        for x in range(pitch, size[0], pitch):
            draw.line((x, 0, x, size[1]), fill=line, width=2)
    if pattern == "stripes":
        for x in range(-size[1], size[0], 2 * pitch):
            draw.line((x, 0, x + size[1], size[1]), fill=line, width=pitch // 3)
    return image, draw


def main() -> None:
    """Renders pages and their questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(write_pages(arguments.seed, arguments.count, arguments.out))


if __name__ == "__main__":
    main()
