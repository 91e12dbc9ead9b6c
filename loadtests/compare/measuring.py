"""Measures cells: prepares their chats, warms up, sends, and judges the answers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loadtests.compare.arms import Arm
from loadtests.compare.asking import ask
from loadtests.compare.cells import SETTINGS, Cell, Measured
from loadtests.compare.pages import Page, chat, pages
from loadtests.compare.servers import Servers

_SETTINGS = {setting.name: setting for setting in SETTINGS}


@dataclass
class Measuring:
    """Asks running servers; `requests` chats for each cell, by its concurrency."""

    servers: Servers
    arms: Mapping[str, Arm]
    requests: Mapping[int, int]
    _marks: Iterable[int] = field(default_factory=lambda: itertools.count(secrets.randbits(44)))
    _pages: list[Page] = field(default_factory=list)
    _source: Iterable[Page] = field(default_factory=pages)

    def warm_up(self) -> None:
        """Every arm once, so that no cell pays for what a server does only at first."""
        for setting in _SETTINGS.values():
            for name in self.arms:
                self.measure(Cell(setting.name, 2, 0, name), requests=4)

    def measure(self, cell: Cell, requests: int | None = None) -> Measured:
        """One cell. All arms of a round get the same pages, of which other rounds get none."""
        count = requests or self.requests[cell.at_once]
        asked = self._pages_of(cell.round, count)
        setting, arm = _SETTINGS[cell.setting], self.arms[cell.arm]
        bodies = [
            chat(page, arm, self.servers.model, setting.tokens, setting.exactly, mark)
            for page, mark in zip(asked, self._marks, strict=False)
        ]
        seconds, answers = ask(self.servers.urls[arm.server], bodies, cell.at_once)
        right = [
            answer.text.startswith(page.answer) if setting.exactly else answer.text == page.answer
            for page, answer in zip(asked, answers, strict=True)
        ]
        return Measured(cell, seconds, tuple(answers), tuple(right))

    def _pages_of(self, number: int, count: int) -> list[Page]:
        largest = max(self.requests.values())
        while len(self._pages) < (number + 1) * largest:
            self._pages.append(next(iter(self._source)))
        return self._pages[number * largest :][:count]
