"""Page kinds that the shipped model can answer but was not trained on as such: six of them.

Three ask for tags, three for circles; no two share layout, paper and page shape. An RPN made from
three of them has never seen the wording, the things or the pages of the other three.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from demo.drawing import Box, draw_badge, draw_circle, draw_sign, draw_tag
from demo.pages import Page, Thing, background, neat_rows, page_row, scattered, text_height
from demo.questions import COLOURS


@dataclass(frozen=True)
class PageKind:
    """`asked` is what the question names ("tags" or "signs"); `things` least and most of a page;
    `width` and `height` of a thing, least and most, in pixels of the page."""

    name: str
    asked: str
    size: tuple[int, int]
    paper: str
    lay_out: Callable[[tuple[int, int], list[tuple[int, int]], Random], list[Box]]
    paint: Callable[..., Box]
    things: tuple[int, int]
    width: tuple[int, int]
    height: tuple[int, int]


SQUARE, LANDSCAPE, PORTRAIT = (896, 896), (1064, 896), (896, 1064)

PAGE_KINDS = {
    kind.name: kind
    for kind in (
        PageKind("shelf", "tags", SQUARE, "plain", neat_rows, draw_tag,
                 (6, 8), (112, 165), (84, 120)),
        PageKind("stickers", "tags", LANDSCAPE, "stripes", scattered, draw_tag,
                 (3, 5), (112, 165), (84, 120)),
        PageKind("badges", "tags", PORTRAIT, "squared", scattered, draw_badge,
                 (4, 7), (130, 165), (96, 120)),
        PageKind("notices", "signs", PORTRAIT, "ruled", scattered, draw_sign,
                 (4, 6), (172, 192), (88, 104)),
        PageKind("labels", "signs", SQUARE, "stripes", neat_rows, draw_sign,
                 (6, 8), (104, 124), (144, 172)),
        PageKind("dots", "signs", LANDSCAPE, "plain", scattered, draw_circle,
                 (3, 6), (172, 192), (88, 104)),
    )
}  # fmt: skip


def render_kind(kind: PageKind, seed: int, index: int) -> Page:
    """Page `index` of `seed`, of one kind."""
    rng = Random(f"sdrpn page kind {kind.name} {seed} {index}")
    height = text_height(rng)
    names = rng.sample(tuple(COLOURS), rng.randint(*kind.things))
    codes = [f"{n:02d}" for n in rng.sample(range(100), len(names))]
    sizes = [(rng.randint(*kind.width), rng.randint(*kind.height)) for _ in names]
    boxes = kind.lay_out(kind.size, sizes, rng)
    image, draw = background(kind.size, rng, (kind.paper,))
    things = tuple(
        Thing(name, code, box, kind.paint(draw, box, name, code, height, rng))
        for name, code, box in zip(names, codes, boxes, strict=False)
    )
    return Page(kind.asked, image, things, rng.randrange(len(things)))


def write_kinds(seed: int, each: int, folder: Path) -> Path:
    """Writes `each` pages of every kind and their `pages.jsonl`; returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in PAGE_KINDS.values():
        for index in range(each):
            page, name = render_kind(kind, seed, index), f"{kind.name}_{index:05d}.png"
            page.image.save(folder / name)
            rows.append(json.dumps({**page_row(page, name), "kind": kind.name}))
    path = folder / "pages.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
