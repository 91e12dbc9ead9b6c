"""The plan of a comparison, and its results on disk, from which an interrupted run continues."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from loadtests.compare.cpu import CpuSeconds
from loadtests.compare.streaming import Answer, PassTokens


@dataclass(frozen=True)
class Setting:
    """The length of answers: up to `tokens`, or exactly that many."""

    name: str
    tokens: int
    exact: bool
    requests: Mapping[int, int]

    def chats(self, concurrency: int) -> int:
        """Chats of one cell: enough for a second or more."""
        return self.requests.get(concurrency, 2 * concurrency)


SETTINGS = (
    Setting("prefill", 8, False, {1: 8, 4: 24, 16: 32}),
    Setting("decode", 128, True, {1: 2, 4: 8, 16: 16}),
)
"""Short answers, whose latency is the prompt's; and long ones, whose latency is their own."""


@dataclass(frozen=True)
class Cell:
    """One measurement: an arm in a setting at a concurrency, in one of the rounds."""

    setting: str
    concurrency: int
    round: int
    arm: str


@dataclass(frozen=True)
class CellResult:
    """A cell's duration in seconds, its answers, which of them are correct, and CPU seconds."""

    cell: Cell
    duration: float
    answers: tuple[Answer, ...]
    correct: tuple[bool, ...]
    cpu_seconds: CpuSeconds = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Requests per second. At concurrency 1 we report the reciprocal of the median latency,
        which one delayed request does not change.
        """
        if self.cell.concurrency == 1:
            return 1 / statistics.median(answer.e2e_latency for answer in self.answers)
        return len(self.answers) / self.duration


def plan(
    settings: Sequence[str], concurrencies: Sequence[int], rounds: int, arms: Sequence[str]
) -> Iterator[Cell]:
    """Every cell; the arms of a round side by side, in another order each round."""
    for number in range(rounds):
        for setting in settings:
            for concurrency in concurrencies:
                order = Random(f"{number} {setting} {concurrency}").sample(arms, len(arms))
                yield from (Cell(setting, concurrency, number, arm) for arm in order)


class Results:
    """Cells in a JSON-lines file, which is read once and appended to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self._cells = {r.cell: r for r in (_result(json.loads(line)) for line in lines)}

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._cells

    def __iter__(self) -> Iterator[CellResult]:
        return iter(self._cells.values())

    def add(self, result: CellResult) -> None:
        """Stores it, on disk too."""
        self._cells[result.cell] = result
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def of(self, setting: str, concurrency: int, arm: str) -> list[CellResult]:
        """That arm's rounds, in order."""
        cells = [
            result
            for result in self
            if (result.cell.setting, result.cell.concurrency, result.cell.arm)
            == (setting, concurrency, arm)
        ]
        return sorted(cells, key=lambda result: result.cell.round)


def _result(row: dict[str, Any]) -> CellResult:
    answers = [
        Answer(**{**answer, "passes": tuple(PassTokens(**one) for one in answer["passes"])})
        for answer in row["answers"]
    ]
    return CellResult(
        Cell(**row["cell"]),
        row["duration"],
        tuple(answers),
        tuple(row["correct"]),
        row["cpu_seconds"],
    )
