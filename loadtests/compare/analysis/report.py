"""From cells to the rows of a table: one for each arm, setting and concurrency."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.compare.analysis.limit import TokenCosts, fit
from loadtests.compare.analysis.ratios import Ratio, throughput_ratio
from loadtests.compare.analysis.token_counts import TokenCounts, mean_counts
from loadtests.compare.arms import Arm
from loadtests.compare.cells import SETTINGS, CellResult, Results
from loadtests.compare.streaming import Answer

PLAIN = "plain"

_Key = tuple[str, int, str]
"""Setting, concurrency, arm."""


@dataclass(frozen=True)
class Percentiles:
    """Of some time, in seconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Row:
    """One arm in one setting at one concurrency.

    `throughput` is in requests per second. `tpot` is None where no answer has a second token.
    Token counts and CPU seconds (by process) are those of a mean request. `correct` is a share of
    the `answers`. `limit` is what `relative_throughput` (to `plain`) would be if only tokens took
    time.
    """

    setting: str
    concurrency: int
    arm: str
    throughput: float
    ttft: Percentiles
    tpot: Percentiles | None
    e2e_latency: Percentiles
    tokens: TokenCounts
    correct: float
    answers: int
    cpu_seconds: dict[str, float]
    relative_throughput: Ratio | None
    limit: float | None

    @property
    def share_of_limit(self) -> float | None:
        """The part of the limit that was reached."""
        ratio = self.relative_throughput
        return ratio.median / self.limit if ratio and self.limit else None


@dataclass(frozen=True)
class Report:
    """Everything measured, and the token costs behind the limits, by concurrency."""

    rows: tuple[Row, ...]
    costs: dict[int, TokenCosts]


def report(results: Results, arms: Mapping[str, Arm]) -> Report:
    """The report on all cells of these arms."""
    text = _text_tokens(results, arms)
    concurrencies = sorted({r.cell.concurrency for r in results})
    kinds = [(setting.name, level) for setting in SETTINGS for level in concurrencies]
    every = {(*kind, name): results.of(*kind, name) for kind in kinds for name in arms}
    cells = {key: measured for key, measured in every.items() if measured}
    counts = {key: _counts(measured, arms[key[2]], text) for key, measured in cells.items()}
    costs = _costs(cells, counts, arms)
    rows = [
        _row(results, key, measured, counts, costs.get(key[1]))
        for key, measured in cells.items()
        if not arms[key[2]].calibration
    ]
    return Report(tuple(rows), costs)


def _text_tokens(results: Results, arms: Mapping[str, Arm]) -> float:
    """Tokens of a prompt beside its picture's: `plain` always uses its whole visual budget."""
    prompts = [a.passes[-1].prompt for r in results if r.cell.arm == PLAIN for a in r.answers]
    return statistics.fmean(prompts) - arms[PLAIN].base_tokens if prompts else 0.0


def _counts(cells: Sequence[CellResult], arm: Arm, text: float) -> TokenCounts:
    answers = _answers(cells)
    if arm.filler:
        text = statistics.fmean(a.passes[-1].prompt for a in answers) - arm.base_tokens
    return mean_counts(answers, text, arm.base_tokens, arm.encoded_again)


def _costs(
    cells: Mapping[_Key, Sequence[CellResult]],
    counts: Mapping[_Key, TokenCounts],
    arms: Mapping[str, Arm],
) -> dict[int, TokenCosts]:
    """Fitted to the stock arms of every concurrency that has enough of them."""
    costs = {}
    for concurrency in sorted({key[1] for key in cells}):
        stock = [
            (counts[key], statistics.median(1 / r.throughput for r in measured))
            for key, measured in cells.items()
            if key[1] == concurrency and arms[key[2]].server == "stock"
        ]
        if fitted := fit(stock):
            costs[concurrency] = fitted
    return costs


def _row(
    results: Results,
    key: _Key,
    cells: Sequence[CellResult],
    counts: Mapping[_Key, TokenCounts],
    costs: TokenCosts | None,
) -> Row:
    setting, concurrency, arm = key
    answers = _answers(cells)
    plain = counts.get((setting, concurrency, PLAIN))
    tpots = [a.tpot for a in answers if a.tpot is not None]
    return Row(
        *key,
        throughput=statistics.median(r.throughput for r in cells),
        ttft=_percentiles([a.ttft for a in answers]),
        tpot=_percentiles(tpots) if tpots else None,
        e2e_latency=_percentiles([a.e2e_latency for a in answers]),
        tokens=counts[key],
        correct=statistics.fmean(correct for r in cells for correct in r.correct),
        answers=len(answers),
        cpu_seconds=_cpu_seconds(cells),
        relative_throughput=throughput_ratio(results, setting, concurrency, arm, PLAIN),
        limit=costs.seconds(plain) / costs.seconds(counts[key]) if costs and plain else None,
    )


def _answers(cells: Sequence[CellResult]) -> list[Answer]:
    return [answer for result in cells for answer in result.answers]


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return Percentiles(float(p50), float(p95))


def _cpu_seconds(cells: Sequence[CellResult]) -> dict[str, float]:
    """The median round's, process by process, which other load on the machine disturbs little."""
    kinds = dict.fromkeys(kind for r in cells for kind in r.cpu_seconds)
    return {
        kind: statistics.median(
            r.cpu_seconds[kind] / len(r.answers) for r in cells if kind in r.cpu_seconds
        )
        for kind in kinds
    }
