"""From cells to the rows of a table: one for each arm, setting and concurrency."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.compare.arms import Arm
from loadtests.compare.cells import Measured, Results
from loadtests.compare.counts import Tokens, tokens
from loadtests.compare.limit import Prices, fit
from loadtests.compare.ratios import Ratio, ratio

PLAIN = "plain"


@dataclass(frozen=True)
class Row:
    """One arm in one setting at one concurrency. Times are seconds, tokens and CPU
    seconds (by process) those of a request.

    `limit` is what the ratio to `plain` would be if nothing but tokens cost time.
    """

    setting: str
    at_once: int
    arm: str
    per_second: float
    first_p50: float
    first_p95: float
    total_p50: float
    total_p95: float
    tokens: Tokens
    right: float
    answers: int
    cpu: dict[str, float]
    to_plain: Ratio | None
    limit: float | None

    @property
    def of_limit(self) -> float | None:
        """The share of the limit that was reached."""
        return self.to_plain.median / self.limit if self.to_plain and self.limit else None


@dataclass(frozen=True)
class Report:
    """Everything measured, and the prices behind the limits, by concurrency."""

    rows: tuple[Row, ...]
    prices: dict[int, Prices]

    def row(self, setting: str, at_once: int, arm: str) -> Row | None:
        """That row, if it was measured."""
        wanted = (setting, at_once, arm)
        rows = (row for row in self.rows if (row.setting, row.at_once, row.arm) == wanted)
        return next(rows, None)


def report(results: Results, arms: Mapping[str, Arm]) -> Report:
    """The report on all cells of these arms."""
    text = _text_tokens(results, arms)
    kinds = sorted({(m.cell.setting, m.cell.at_once) for m in results}, reverse=True)
    found = {
        (setting, at_once, name): results.of(setting, at_once, name)
        for setting, at_once in kinds
        for name in arms
    }
    counted = {key: _tokens(cells, arms[key[2]], text) for key, cells in found.items() if cells}
    prices = {}
    for at_once in sorted({at_once for _, at_once in kinds}):
        stock = [
            (count, statistics.median(1 / m.per_second for m in found[key]))
            for key, count in counted.items()
            if key[1] == at_once and arms[key[2]].server == "stock"
        ]
        if fitted := fit(stock):
            prices[at_once] = fitted
    rows = [
        _row(results, key, found[key], counted, prices.get(key[1]))
        for key in counted
        if not arms[key[2]].calibration
    ]
    return Report(tuple(rows), prices)


def _text_tokens(results: Results, arms: Mapping[str, Arm]) -> float:
    """Tokens of a prompt beside its picture: `plain` has its whole budget in picture."""
    prompts = [a.passes[-1].prompt for m in results if m.cell.arm == PLAIN for a in m.answers]
    return statistics.fmean(prompts) - arms[PLAIN].base_tokens if prompts else 0.0


def _tokens(cells: Sequence[Measured], arm: Arm, text: float) -> Tokens:
    answers = [answer for m in cells for answer in m.answers]
    if arm.filler:
        text = statistics.fmean(a.passes[-1].prompt for a in answers) - arm.base_tokens
    return tokens(answers, text, arm.base_tokens, arm.encoded_again)


def _row(
    results: Results,
    key: tuple[str, int, str],
    cells: Sequence[Measured],
    counted: Mapping[tuple[str, int, str], Tokens],
    prices: Prices | None,
) -> Row:
    setting, at_once, arm = key
    answers = [answer for m in cells for answer in m.answers]
    right = [right for m in cells for right in m.right]
    plain = counted.get((setting, at_once, PLAIN))
    first = np.quantile([a.first for a in answers], [0.5, 0.95])
    total = np.quantile([a.total for a in answers], [0.5, 0.95])
    return Row(
        *key,
        per_second=statistics.median(m.per_second for m in cells),
        first_p50=float(first[0]),
        first_p95=float(first[1]),
        total_p50=float(total[0]),
        total_p95=float(total[1]),
        tokens=counted[key],
        right=statistics.fmean(right),
        answers=len(answers),
        cpu=_cpu(cells),
        to_plain=ratio(results, setting, at_once, arm, PLAIN),
        limit=prices.seconds(plain) / prices.seconds(counted[key]) if prices and plain else None,
    )


def _cpu(cells: Sequence[Measured]) -> dict[str, float]:
    """The median round's, process by process: what other processes do beside disturbs it little."""
    kinds = dict.fromkeys(kind for m in cells for kind in m.cpu)
    return {
        kind: statistics.median(m.cpu[kind] / len(m.answers) for m in cells if kind in m.cpu)
        for kind in kinds
    }
