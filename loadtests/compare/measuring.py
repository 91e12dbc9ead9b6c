"""Measures cells: prepares their chats, warms up, sends, and judges the answers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from loadtests.compare.arms import Arm
from loadtests.compare.cells import SETTINGS, Cell, Measured
from loadtests.compare.clients import ask
from loadtests.compare.cpu import Processes, between
from loadtests.compare.pages import Page, chat, greeting, pages
from loadtests.compare.servers import Servers

_ROUND = max(count for setting in SETTINGS for count in setting.requests.values())
_SETTINGS = {setting.name: setting for setting in SETTINGS}


@dataclass
class Measuring:
    """Asks running servers; `share` of the usual number of chats in a cell."""

    servers: Servers
    arms: Mapping[str, Arm]
    share: float = 1.0
    _marks: Iterable[int] = field(default_factory=lambda: itertools.count(secrets.randbits(44)))
    _pages: list[Page] = field(default_factory=list)
    _source: Iterable[Page] = field(default_factory=pages)
    _running: dict[str, Processes] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Every arm once, so that no cell pays for what a server does only at first."""
        for name in self.arms:
            self.measure(Cell(SETTINGS[0].name, 2, 0, name))

    def measure(self, cell: Cell, count: int | None = None) -> Measured:
        """One cell, of `count` chats or as many as are usual. All arms of a round get the same
        pages, of which other rounds get none."""
        setting, arm = _SETTINGS[cell.setting], self.arms[cell.arm]
        usual = setting.requests.get(cell.at_once, 2 * cell.at_once)
        count = count or max(cell.at_once, round(self.share * arm.share * usual))
        asked = self._pages_of(cell.round, count)
        bodies = [
            chat(page, arm, self.servers.model, setting.tokens, setting.exactly, mark)
            for page, mark in zip(asked, self._marks, strict=False)
        ]
        self._wake(arm.server)
        processes = self.processes(arm.name)
        before = processes.spent()
        seconds, answers = ask(self.servers.urls[arm.server], bodies, cell.at_once)
        cpu = between(before, processes.spent())
        right = [
            answer.text.startswith(page.answer) if setting.exactly else answer.text == page.answer
            for page, answer in zip(asked, answers, strict=True)
        ]
        return Measured(cell, seconds, tuple(answers), tuple(right), cpu)

    def _wake(self, server: str) -> None:
        """An engine that had nothing to do for a second takes up to another to notice a chat."""
        for _ in range(2):
            ask(self.servers.urls[server], [greeting(self.servers.model)], at_once=1)

    def processes(self, arm: str) -> Processes:
        """Those of the server that this arm asks."""
        server = self.arms[arm].server
        if server not in self._running:
            self._running[server] = Processes(self.servers.urls[server])
        return self._running[server]

    def _pages_of(self, number: int, count: int) -> list[Page]:
        while len(self._pages) < (number + 1) * _ROUND:
            self._pages.append(next(iter(self._source)))
        return self._pages[number * _ROUND :][:count]
