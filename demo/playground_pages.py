"""Chooses the pages that ship with the playground: `python -m demo.playground_pages`.

Of the pages of a seed of their own it takes those whose target is lost in the base view and
answered wrong from it, and answered right with zoom: with the RPN's region, which holds the whole
thing, at a stricter and a laxer threshold, and with the true box. Of those with confident answers
it chooses the pages with most things, with targets of different colours. Run it again when the
shipped weights change; tests/server/playground checks that the pages hold what they promise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.endpoint import open_endpoint
from demo.evaluation.client import DemoClient, png_of
from demo.pages import KINDS, LOST_PX, Page, render_page, text_px

SEED = 3_000_017
CANDIDATES = 120
PAGES = 4
FOLDER = Path(__file__).resolve().parents[1] / "server" / "playground" / "static" / "pages"
LEAST_CONFIDENCE = 0.99
STRICTER, LAXER = 0.45, 0.15
"""Thresholds on either side of the RPN's own."""


@dataclass(frozen=True)
class Candidate:
    """A page that qualifies; `confidence` is the least probability of a token of its answer."""

    page: Page
    png: bytes
    confidence: float


def candidates(url: str, seed: int, count: int) -> Iterator[Candidate]:
    """Of `count` pages of `seed`, those that the endpoint at `url` answers as described above."""
    client = DemoClient(url)
    for index in range(count):
        page = render_page(seed, index)
        if text_px(page) >= LOST_PX:
            continue
        png, target = png_of(page), page.target
        if client.ask(png, page.question, False).text == target.code:
            continue
        zoomed = client.ask(png, page.question, True)
        confidence = min(zoomed.probabilities)
        variants = ({"threshold": STRICTER}, {"threshold": LAXER}, {"boxes": [list(target.box)]})
        answers = [zoomed, *(client.ask(png, page.question, roi) for roi in variants)]
        if all(answer.text == target.code for answer in answers) and (
            _covers(zoomed.roi["regions"], target.box) and confidence >= LEAST_CONFIDENCE
        ):
            yield Candidate(page, png, confidence)


def choose(candidates: Sequence[Candidate], pages: int) -> list[Candidate]:
    """The `pages` candidates with most things, of each kind in turn, each target in a colour of its
    own."""
    ranked = sorted(candidates, key=lambda c: (-len(c.page.things), -c.confidence))
    chosen: list[Candidate] = []
    colours: set[str] = set()
    for turn in range(pages):
        for candidate in ranked:
            page = candidate.page
            colour = page.target.name
            if page.kind == KINDS[turn % len(KINDS)] and colour not in colours:
                chosen.append(candidate)
                colours.add(colour)
                break
    return chosen


def write(chosen: list[Candidate], folder: Path) -> None:
    """Writes the pages and `pages.json`, which the playground reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    rows = []
    for candidate in chosen:
        page = candidate.page
        target = page.target
        name = f"{target.name}-{page.kind.removesuffix('s')}"
        (folder / f"{name}.png").write_bytes(candidate.png)
        title = f"A page with {len(page.things)} {page.kind}"
        row = {"id": name, "title": title, "question": page.question, "answer": target.code}
        rows.append(row)
    (folder / "pages.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _covers(regions: list[dict[str, Any]], box: tuple[int, int, int, int]) -> bool:
    if not regions:
        return False
    x0, y0, x1, y1 = regions[0]["box"]
    return bool(x0 <= box[0] and y0 <= box[1] and x1 >= box[2] and y1 >= box[3])


def main() -> None:
    """Chooses the playground's pages with the shipped model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    arguments = parser.parse_args()
    with open_endpoint(arguments.url, Path("runs/playground-pages")) as url:
        qualified = list(candidates(url, SEED, CANDIDATES))
    chosen = choose(qualified, PAGES)
    print(f"{len(qualified)} of {CANDIDATES} pages qualify; {len(chosen)} are chosen:")
    for candidate in chosen:
        question, size = candidate.page.question, len(candidate.png)
        print(f"{question}  confidence {candidate.confidence:.3f}, {size} bytes")
    write(chosen, FOLDER)


if __name__ == "__main__":
    main()
