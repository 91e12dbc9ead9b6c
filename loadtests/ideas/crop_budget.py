"""Crops of as many tokens as the region needs, instead of a fixed budget: answers and time.

A region of few pixels is enlarged to fill the crop budget. Here it is enlarged no more than so many
times a side, and smaller fixed budgets stand beside that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from loadtests.ideas.alternating import alternate
from loadtests.ideas.asking import Answer, Endpoint, Page, endpoint, page
from server.views import CELL

_BUDGET = 64
_LEAST = 4
_PAGES_A_ROUND = 15

Rule = Callable[[list[float]], int]
"""The crop token budget for a box in pixels of the page."""


def _enlarged(times: float, box: list[float]) -> int:
    width, height = box[2] - box[0], box[3] - box[1]
    return max(_LEAST, min(_BUDGET, math.ceil(width * height * times**2 / CELL**2)))


RULES: dict[str, Rule] = {
    "64 tokens": lambda _: 64,
    "32 tokens": lambda _: 32,
    "enlarged 1.5 times at most": partial(_enlarged, 1.5),
    "not enlarged": partial(_enlarged, 1.0),
}


def measure(rounds: int) -> None:
    """All rules on the same pages; the regions are found before the clock starts."""
    right: dict[str, int] = dict.fromkeys(RULES, 0)
    tokens: dict[str, int] = dict.fromkeys(RULES, 0)
    with endpoint() as asked:

        def ask(name: str, number: int) -> None:
            for one in _pages(number):
                answer = _ask(asked, one, RULES[name])
                if number > 0:
                    right[name] += answer.text == one.code
                    tokens[name] += answer.prompt_tokens

        timed = alternate({name: partial(ask, name) for name in RULES}, rounds)
    count = rounds * _PAGES_A_ROUND
    print(f"\nshipped model, {count} pages that training never saw, one request at a time")
    timed.print("64 tokens")
    for name in RULES:
        fewer = (tokens["64 tokens"] - tokens[name]) / count
        print(f"{name:28} {right[name] / count:.3f} right, {fewer:5.1f} crop tokens fewer")


_seen: dict[int, list[Page]] = {}
_boxes: dict[str, list[list[float]]] = {}


def _pages(round_number: int) -> list[Page]:
    if round_number not in _seen:
        first = round_number * _PAGES_A_ROUND
        _seen[round_number] = [page(first + n) for n in range(_PAGES_A_ROUND)]
    return _seen[round_number]


def _ask(asked: Endpoint, one: Page, rule: Rule) -> Answer:
    """With the region pass 1 finds (looked up once), under the rule's budget."""
    if one.url not in _boxes:
        _boxes[one.url] = [r["box"] for r in asked.ask(one, True).roi["regions"]]
    boxes = _boxes[one.url]
    return asked.ask(one, {"boxes": boxes, "crop_tokens": rule(boxes[0])} if boxes else False)
