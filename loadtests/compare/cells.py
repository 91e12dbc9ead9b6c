"""The plan of a comparison, and its results on disk: a run that is cut short goes on from there."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from loadtests.compare.clients import Answer, Read
from loadtests.compare.cpu import Spent


@dataclass(frozen=True)
class Setting:
    """How long answers are: up to `tokens`, or exactly that many."""

    name: str
    tokens: int
    exactly: bool
    requests: Mapping[int, int]
    """Chats of one cell, by how many are asked at once: a second or more of them."""


SETTINGS = (
    Setting("prefill", 8, False, {1: 8, 4: 24, 16: 32}),
    Setting("decode", 128, True, {1: 2, 4: 8, 16: 16}),
)
"""Short answers, whose time is the prompt's; and answers whose time is their own."""


@dataclass(frozen=True)
class Cell:
    """One measurement: an arm in a setting at a concurrency, in one of the rounds."""

    setting: str
    at_once: int
    round: int
    arm: str


@dataclass(frozen=True)
class Measured:
    """What a cell gave: seconds for all, the answers, which were right, and CPU seconds."""

    cell: Cell
    seconds: float
    answers: tuple[Answer, ...]
    right: tuple[bool, ...]
    cpu: Spent = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Requests answered in a second; one at a time, of the median request's time, so that one
        that something else on the machine held up does not speak for the others.
        """
        if self.cell.at_once == 1:
            return 1 / statistics.median(answer.total for answer in self.answers)
        return len(self.answers) / self.seconds


def plan(
    settings: Sequence[str], at_once: Sequence[int], rounds: int, arms: Sequence[str]
) -> Iterator[Cell]:
    """Every cell; the arms of a round side by side, in another order each round."""
    for number in range(rounds):
        for setting in settings:
            for concurrency in at_once:
                order = Random(f"{number} {setting} {concurrency}").sample(arms, len(arms))
                yield from (Cell(setting, concurrency, number, arm) for arm in order)


class Results:
    """Cells in a JSON-lines file: `file` is read at first, and appended to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self._cells = {m.cell: m for m in (_measured(json.loads(line)) for line in lines)}

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._cells

    def __iter__(self) -> Iterator[Measured]:
        return iter(self._cells.values())

    def add(self, measured: Measured) -> None:
        """Keeps it."""
        self._cells[measured.cell] = measured
        with self._file.open("a") as file:
            file.write(json.dumps(asdict(measured)) + "\n")

    def of(self, setting: str, at_once: int, arm: str) -> list[Measured]:
        """That arm's rounds, in order."""
        cells = [
            m
            for m in self
            if (m.cell.setting, m.cell.at_once, m.cell.arm) == (setting, at_once, arm)
        ]
        return sorted(cells, key=lambda m: m.cell.round)


def _measured(row: dict[str, Any]) -> Measured:
    answers = [
        Answer(**{**answer, "passes": tuple(Read(**read) for read in answer["passes"])})
        for answer in row["answers"]
    ]
    cell, right = Cell(**row["cell"]), tuple(row["right"])
    return Measured(cell, row["seconds"], tuple(answers), right, row["cpu"])
