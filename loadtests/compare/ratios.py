"""How fast one arm is beside another, round by round, and how much that differs between rounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loadtests.compare.cells import Results


@dataclass(frozen=True)
class Ratio:
    """Requests per second of one arm over another's: the rounds' median, least and greatest."""

    median: float
    least: float
    greatest: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.greatest:.2f})"


def ratio(results: Results, setting: str, at_once: int, arm: str, over: str) -> Ratio | None:
    """`arm` over `over`; paired by round, because a machine has slow and fast minutes."""
    below = {m.cell.round: m.per_second for m in results.of(setting, at_once, over)}
    rounds = [
        m.per_second / below[m.cell.round]
        for m in results.of(setting, at_once, arm)
        if m.cell.round in below
    ]
    if not rounds:
        return None
    return Ratio(statistics.median(rounds), min(rounds), max(rounds), len(rounds))
