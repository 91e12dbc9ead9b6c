"""What is to be reached, and how far each is: the ratios that matter, in every setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loadtests.compare.cells import Results
from loadtests.compare.ratios import Ratio, ratio
from loadtests.compare.report import PLAIN, Report

LIMIT_SHARE = 0.95
FIT_WELL = 0.1
"""Prices that miss what they were fitted to by more say nothing about a limit to 5 %."""


@dataclass(frozen=True)
class Goal:
    """Requests per second of `arm` over those of `over`: at least `least`."""

    arm: str
    over: str
    least: float


@dataclass(frozen=True)
class Reached:
    """A goal in one setting at one concurrency, and the ratio there."""

    goal: Goal
    setting: str
    at_once: int
    ratio: Ratio

    @property
    def is_reached(self) -> bool:
        """By the rounds' median."""
        return self.ratio.median >= self.goal.least


def goals(more_tokens: Sequence[int]) -> list[Goal]:
    """All goals; the large base view is the largest of `more_tokens`."""
    large = [Goal("zoom", f"more tokens: {max(more_tokens)}", 5.0)] if more_tokens else []
    return [
        Goal("zoom", PLAIN, 0.80),
        Goal("gate", PLAIN, 0.90),
        Goal("zoom", "recompute", 1.5),
        Goal("zoom", "vicrop", 2.0),
        *large,
        Goal("unused", PLAIN, 0.98),
    ]


def reached(results: Results, wanted: Sequence[Goal]) -> Iterator[Reached]:
    """Each goal wherever both of its arms were measured."""
    kinds = dict.fromkeys((m.cell.setting, m.cell.at_once) for m in results)
    for goal in wanted:
        for setting, at_once in sorted(kinds, key=lambda kind: (kind[0] != "prefill", kind[1])):
            found = ratio(results, setting, at_once, goal.arm, goal.over)
            if found:
                yield Reached(goal, setting, at_once, found)


def goal_table(found: Sequence[Reached], report: Report) -> str:
    """A line for each goal and setting."""
    lines = [f"{'goal':34}{'':10}at once  median (least–greatest of the rounds)"]
    for one in found:
        name = f"{one.goal.arm} ÷ {one.goal.over} ≥ {one.goal.least:.2f}"
        mark = "reached" if one.is_reached else "NOT REACHED"
        lines.append(f"{name:34}{one.setting:10}{one.at_once:7}  {one.ratio!s:20} {mark}")
    return "\n".join([*lines, *_limits(report)])


def _limits(report: Report) -> Iterator[str]:
    """How near zoom and gate come to what their tokens allow, where that is known well enough."""
    for row in report.rows:
        if row.arm not in ("zoom", "gate") or row.of_limit is None:
            continue
        error = report.prices[row.at_once].error
        mark = "reached" if row.of_limit >= LIMIT_SHARE else "NOT REACHED"
        if error > FIT_WELL:
            mark = f"not known: the prices fit to {error:.0%} only"
        name = f"{row.arm} ≥ {LIMIT_SHARE:.2f} of its tokens' limit"
        share = f"{row.of_limit:.2f} of {row.limit:.2f}"
        yield f"{name:34}{row.setting:10}{row.at_once:7}  {share:20} {mark}"
