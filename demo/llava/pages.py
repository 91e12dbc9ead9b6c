"""Pages for the small LLaVA, and its views of them: squares of 112 px, stretched crops.

`python -m demo.llava.pages --seed 1 --count 9 --out DIR` writes PNG pages and `pages.jsonl`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from demo.drawing import Box
from demo.llava.architecture import CELL, SIDE
from demo.pages import Page, Style, page_row, render_page
from demo.views import View
from server.views import scale_to_grid

STYLE = Style(
    kinds=("tags",),
    sizes=((896, 896),),
    text_heights=((0.6, 24, 36), (0.1, 40, 60), (0.3, 64, 76)),
)
"""Tags; codes of 3 to 4.5 px in the base view (lost), 5 to 7.5 (between), 8 px and more."""


def base_view(page: Page) -> View:
    """The whole page."""
    return _view(page.image, (0, 0, *page.image.size))


def crop_view(page: Page, box: Box) -> View:
    """The part of the page in `box`, stretched onto the square."""
    return _view(page.image.crop(box), box)


def _view(picture: Image.Image, box: Box) -> View:
    pixels = np.asarray(scale_to_grid(picture, (SIDE, SIDE), CELL))
    return View(pixels, (SIDE, SIDE), box, CELL)


def write_pages(seed: int, count: int, folder: Path) -> Path:
    """Writes `count` pages and `pages.jsonl` into `folder`; returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        page = render_page(seed, index, STYLE)
        name = f"page_{index:05d}.png"
        page.image.save(folder / name)
        row = page_row(page, name)
        text = page.things[page.asked].text_box
        row["text_px"] = round((text[3] - text[1]) * SIDE * CELL / page.image.height, 2)
        rows.append(json.dumps(row))
    path = folder / "pages.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Renders pages and their questions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(write_pages(arguments.seed, arguments.count, arguments.out))


if __name__ == "__main__":
    main()
