"""CPU time of a server's processes: what requests cost, however busy the machine is beside."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import psutil

API, CORE, WORKER = "api", "core", "worker"
"""The API process, vLLM's scheduler (`EngineCore`), and what computes."""

Spent = dict[str, float]
"""Seconds by process."""


class Processes:
    """The processes of the server that listens at a URL; none, if that is another machine's."""

    def __init__(self, url: str) -> None:
        port = urlsplit(url).port
        listening = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid
        }
        first = [psutil.Process(pid) for pid in sorted(listening)[:1]]
        self._all = [*first, *(child for one in first for child in one.children(recursive=True))]

    def spent(self) -> Spent:
        """Seconds so far."""
        spent: Spent = {}
        for process in self._all:
            times = process.cpu_times()
            kind = _kind(process.name())
            spent[kind] = spent.get(kind, 0.0) + times.user + times.system
        return spent

    def pids(self) -> list[tuple[str, int]]:
        """Which process is which; helpers of Python's that only wait are left out."""
        return [
            (_kind(one.name()), one.pid)
            for one in self._all
            if one == self._all[0] or _kind(one.name()) != API
        ]


def _kind(name: str) -> str:
    if "Core" in name:
        return CORE
    return WORKER if "Worker" in name or "::Wor" in name else API


def between(before: Mapping[str, float], after: Mapping[str, float]) -> Spent:
    """What was spent in between."""
    return {kind: after[kind] - before[kind] for kind in after}
