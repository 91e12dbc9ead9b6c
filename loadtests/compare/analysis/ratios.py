"""The throughput of one arm relative to another, round by round, with its spread over rounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loadtests.compare.cells import Results


@dataclass(frozen=True)
class Ratio:
    """One arm's throughput over another's: median, least and greatest of the rounds."""

    median: float
    least: float
    greatest: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.greatest:.2f})"


def throughput_ratio(
    results: Results, setting: str, concurrency: int, arm: str, over: str
) -> Ratio | None:
    """`arm` over `over`, paired by round, because the speed of a machine drifts between rounds."""
    reference = {r.cell.round: r.throughput for r in results.of(setting, concurrency, over)}
    ratios = [
        result.throughput / reference[result.cell.round]
        for result in results.of(setting, concurrency, arm)
        if result.cell.round in reference
    ]
    if not ratios:
        return None
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))
