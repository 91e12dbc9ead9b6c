"""Two far-apart things: two crops against the one box around both. `python -m demo.two_places`.

On each page it is about the two things that are farthest from each other. The shipped model was
trained on questions about one thing, so a question that names two is measured for what its map
covers, and not for its answer. What two crops are worth is measured with the map that such a
question ought to have: the greater of the maps of two questions about one thing each. Regions are
drawn from it as ever, with `max_regions` 1 and 2, and each of the two questions is asked with those
regions as `roi.boxes`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demo.asking import Answer, Asking
from demo.endpoint import running_endpoint
from demo.eval_report import COVERED
from demo.pages import BASE_TOKENS, Page, Thing
from demo.questions import code_question
from rpn_plugin.roi import regions_from_map
from server.viewing import crop_box
from server.views import CELL, view_grid

SEED = 5_000_011
WAYS = ("one box around both", "two crops", "one crop, the right one", "the two true boxes")

Boxes = list[list[int]]


@dataclass(frozen=True)
class Shown:
    """What one way showed of one page. `covered`: both things are in a crop, by COVERED; `area`:
    the crops' share of the page; `magnified`: pixels of the view for one of the page, in the crop
    that shows it smallest; `right`: of the two questions, those answered right."""

    way: str
    crops: int
    covered: bool
    area: float
    magnified: float
    right: int


@dataclass(frozen=True)
class Named:
    """What the map of a question that names both things covers, with `max_regions` 1 and 2."""

    regions: int
    covered_by_one: bool
    covered_by_two: bool
    area: float
    both_answered: bool


def farthest(page: Page) -> tuple[Thing, Thing]:
    """The two things with most between them."""

    def distance(pair: tuple[Thing, Thing]) -> float:
        (a0, b0, a1, b1), (c0, d0, c1, d1) = pair[0].box, pair[1].box
        return math.hypot(a0 + a1 - c0 - c1, b0 + b1 - d0 - d1)

    things = page.things
    return max(((a, b) for i, a in enumerate(things) for b in things[:i]), key=distance)


def naming_both(page: Page, first: Thing, second: Thing) -> str:
    """Of the forms that were tried, the one whose map falls into two parts most often."""
    question = code_question(page.kind, first.name)
    noun = question.split()[-1]
    return question.replace(noun, f"{noun.removesuffix('?')}, {second.name} {noun}")


def look(asking: Asking, page: Page) -> tuple[list[Shown], Named]:
    """Everything about one page."""
    pair = farthest(page)
    questions = [code_question(page.kind, thing.name) for thing in pair]
    alone = [asking.ask(page, {"heatmap": True}, question) for question in questions]
    ways = {
        WAYS[0]: _regions(page, alone, max_regions=1),
        WAYS[1]: _regions(page, alone, max_regions=2),
        WAYS[3]: [list(thing.box) for thing in pair],
    }
    shown = []
    for way in (WAYS[0], WAYS[1], WAYS[3]):
        roi: Any = {"boxes": ways[way]} if ways[way] else False
        answers = [asking.ask(page, roi, question) for question in questions]
        shown.append(_shown(way, page, pair, ways[way], answers))
    theirs = [region["box"] for answer in alone for region in answer.roi["regions"]]
    shown.append(_shown(WAYS[2], page, pair, theirs, alone))
    return shown, _named(asking, page, pair)


def _regions(page: Page, alone: Sequence[Answer], max_regions: int) -> Boxes:
    threshold = 0.3  # the shipped RPN's
    likely = np.max([answer.roi["heatmap"] for answer in alone], axis=0).clip(1e-4, 1 - 1e-4)
    logits = np.log(likely / (1 - likely))
    found = regions_from_map(logits, page.image.size, threshold, max_regions)
    return [list(region.box) for region in found]


def _shown(
    way: str, page: Page, pair: Sequence[Thing], boxes: Boxes, answers: Sequence[Answer]
) -> Shown:
    width, height = page.image.size
    right = sum(a.text == thing.code for a, thing in zip(answers, pair, strict=True))
    return Shown(
        way, len(boxes), all(_covered(thing, boxes) for thing in pair),
        area=sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) / (width * height),
        magnified=min((_magnified(box, page.image.size) for box in boxes), default=0.0),
        right=right,
    )  # fmt: skip


def _named(asking: Asking, page: Page, pair: tuple[Thing, Thing]) -> Named:
    question = naming_both(page, *pair)
    one, two = (asking.ask(page, {"max_regions": count}, question) for count in (1, 2))
    boxes = [[r["box"] for r in answer.roi["regions"]] for answer in (one, two)]
    width, height = page.image.size
    return Named(
        regions=len(boxes[1]),
        covered_by_one=all(_covered(thing, boxes[0]) for thing in pair),
        covered_by_two=all(_covered(thing, boxes[1]) for thing in pair),
        area=sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes[0]) / (width * height),
        both_answered=all(thing.code in two.text for thing in pair),
    )


def _covered(thing: Thing, boxes: Boxes) -> bool:
    x0, y0, x1, y1 = thing.box
    shares = [
        max(0, min(x1, b[2]) - max(x0, b[0])) * max(0, min(y1, b[3]) - max(y0, b[1])) for b in boxes
    ]
    return max(shares, default=0) >= COVERED * (x1 - x0) * (y1 - y0)


def _magnified(box: list[int], size: tuple[int, int]) -> float:
    x0, y0, x1, y1 = crop_box((box[0], box[1], box[2], box[3]), size)
    rows, cols = view_grid((x1 - x0, y1 - y0), BASE_TOKENS, enlarge=True)
    return math.sqrt(rows * cols * CELL * CELL / ((x1 - x0) * (y1 - y0)))


def print_tables(pages: Sequence[tuple[list[Shown], Named]]) -> None:
    """Means over pages, for people."""
    print("way                        crops  both covered  share of page  magnified  right answers")
    for way in WAYS:
        rows = [shown for found, _ in pages for shown in found if shown.way == way]
        print(
            f"{way:26} {_mean([r.crops for r in rows]):5.2f} "
            f"{_mean([r.covered for r in rows]):13.3f} {_mean([r.area for r in rows]):14.3f} "
            f"{_mean([r.magnified for r in rows]):10.2f} {_mean([r.right / 2 for r in rows]):14.3f}"
        )
    named = [named for _, named in pages]
    print(
        f"a question that names both: {_mean([n.covered_by_one for n in named]):.3f} of one boxes "
        f"and {_mean([n.covered_by_two for n in named]):.3f} of two regions hold both things; "
        f"{_mean([n.regions == 2 for n in named]):.3f} have two; the one box takes "
        f"{_mean([n.area for n in named]):.1%} of the page; both codes are answered on "
        f"{_mean([n.both_answered for n in named]):.1%} of pages"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Compares two crops with one box around two things."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", help="a running endpoint; without it one is started and stopped")
    parser.add_argument("--count", type=int, default=200, help="pages")
    parser.add_argument("--out", type=Path, default=Path("runs/two-places"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    endpoint = nullcontext(arguments.url) if arguments.url else running_endpoint(arguments.out)
    with endpoint as url:
        asking = Asking(url)
        pages = asking.about(SEED, range(arguments.count), lambda page, _: look(asking, page))
    print_tables(pages)
    rows = [{"shown": [asdict(s) for s in found], "named": asdict(n)} for found, n in pages]
    (arguments.out / "two_places.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
