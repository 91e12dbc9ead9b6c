"""Measures cells: prepares their chats, warms up, sends, and checks the answers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loadtests.compare.arms import Arm
from loadtests.compare.cells import SETTINGS, Cell, CellResult, Setting
from loadtests.compare.cpu import ServerProcesses, difference
from loadtests.compare.page_chats import Page, chat, greeting, pages
from loadtests.compare.servers import Servers
from loadtests.compare.streaming import Answer, send

_SETTINGS = {setting.name: setting for setting in SETTINGS}


@dataclass
class Measurement:
    """Sends cells to running servers.

    `round_pages` is the number of different pages in a round, at least the chats of any cell;
    `share` scales the number of chats in a cell.
    """

    servers: Servers
    arms: Mapping[str, Arm]
    round_pages: int
    share: float = 1.0
    _marks: Iterator[int] = field(default_factory=lambda: itertools.count(secrets.randbits(44)))
    _pages: list[Page] = field(default_factory=list)
    _source: Iterator[Page] = field(default_factory=pages)
    _processes: dict[str, ServerProcesses] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Runs every arm once, so that no cell pays for a server's first use of anything."""
        for name in self.arms:
            self.measure(Cell(SETTINGS[0].name, 2, 0, name))

    def measure(self, cell: Cell) -> CellResult:
        """One cell. All arms of a round get the same pages, which no other round gets."""
        setting, arm = _SETTINGS[cell.setting], self.arms[cell.arm]
        chosen = self._pages_of(cell.round, self._chats(cell, setting, arm))
        bodies = [
            chat(page, arm, self.servers.model, setting, mark)
            for page, mark in zip(chosen, self._marks, strict=False)
        ]
        self._wake(arm.server)
        processes = self._processes_of(arm.server)
        before = processes.cpu_seconds()
        duration, answers = send(self.servers.urls[arm.server], bodies, cell.concurrency)
        cpu = difference(before, processes.cpu_seconds())
        correct = [_is_correct(*pair, setting) for pair in zip(chosen, answers, strict=True)]
        return CellResult(cell, duration, tuple(answers), tuple(correct), cpu)

    def _chats(self, cell: Cell, setting: Setting, arm: Arm) -> int:
        share = self.share * arm.share
        return max(cell.concurrency, round(share * setting.chats(cell.concurrency)))

    def _wake(self, server: str) -> None:
        """An engine that was idle for a second takes up to another to notice a request."""
        for _ in range(2):
            send(self.servers.urls[server], [greeting(self.servers.model)], concurrency=1)

    def _processes_of(self, server: str) -> ServerProcesses:
        if server not in self._processes:
            self._processes[server] = ServerProcesses(self.servers.urls[server])
        return self._processes[server]

    def _pages_of(self, number: int, count: int) -> list[Page]:
        while len(self._pages) < (number + 1) * self.round_pages:
            self._pages.append(next(self._source))
        return self._pages[number * self.round_pages :][:count]


def _is_correct(page: Page, answer: Answer, setting: Setting) -> bool:
    """An answer of exact length goes on after the code."""
    if setting.exact:
        return answer.text.startswith(page.answer)
    return answer.text == page.answer
