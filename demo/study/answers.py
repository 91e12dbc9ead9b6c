"""Right answers with given regions, from a running endpoint that serves the shipped model.

Regions go into the request's `roi.boxes`, so pass 2 is the server's own whichever RPN they come
from, and one server is enough for all. What was asked once is not asked again: at temperature 0
the same page with the same crop gets the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import httpx
from tqdm import tqdm

from demo.study.bench import Bench
from server.eval.asking import Endpoint, ask_all, read_answers
from server.eval.benchmarks import BENCHMARKS, Question
from server.eval.conditions import Condition

Region = list[int] | None
"""[x0, y0, x1, y1] in pixels of the page; None asks with the base view alone."""

_AT_ONCE = 8
_LONGEST = 8
_BASE, _BOXES = Condition("base"), Condition("oracle")
"""How `sdrpn eval` calls them; the boxes of "oracle" are those of the question."""


class Answers:
    """Answers about some pages of a bench, kept in its folder."""

    def __init__(self, bench: Bench, url: str, pages: Collection[int]) -> None:
        served = httpx.get(f"{url}/v1/models", timeout=60).raise_for_status().json()
        self._endpoint = Endpoint(url, served["data"][0]["id"], None, _LONGEST, _AT_ONCE)
        self._bench, self._path = bench, bench.folder / "answers.jsonl"
        self._pages = frozenset(pages)
        self._scores = self._read()

    def ask(self, *regions: Mapping[int, Region]) -> None:
        """Asks about each page with the regions it has in these, unless it was done before."""
        wanted = {_key(*pair): pair for mine in regions for pair in self._asked(mine)}
        missing = {key: pair for key, pair in wanted.items() if key not in self._scores}
        questions = [self._question(*pair) for pair in missing.values()]
        with tqdm(total=len(questions), unit=" answers") as bar:
            for condition in (_BASE, _BOXES):
                mine = [q for q in questions if bool(q.boxes) == (condition is _BOXES)]
                asyncio.run(
                    ask_all(
                        self._endpoint, BENCHMARKS["jsonl"], mine, condition, self._path,
                        lambda _: bar.update(1),
                    )
                )  # fmt: skip
        self._scores = self._read()

    def right(self, regions: Mapping[int, Region]) -> float:
        """The share of right answers with these regions, by page."""
        return fmean(self._scores[_key(*pair)] for pair in self._asked(regions))

    def _asked(self, regions: Mapping[int, Region]) -> list[tuple[int, Region]]:
        return [pair for pair in regions.items() if pair[0] in self._pages]

    def _read(self) -> dict[str, float]:
        return {answer.id: answer.score for answer in read_answers(self._path)}

    def _question(self, number: int, region: Region) -> Question:
        sample, row = self._bench.samples[number], self._bench.rows[number]
        assert isinstance(sample.source, Path)
        boxes = (_corners(region),) if region else ()
        answer = (str(row["answer"]),)
        return Question(_key(number, region), sample.source, sample.question, answer, boxes)


def _key(number: int, region: Region) -> str:
    return f"{number} {region}"


def _corners(box: Sequence[int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return float(x0), float(y0), float(x1), float(y1)
