"""CPU time of a server's processes, which other load on the machine changes little."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import psutil

API, CORE, WORKER = "api", "core", "worker"
"""The API process, vLLM's scheduler (`EngineCore`), and the process that runs the model."""

CpuSeconds = dict[str, float]
"""CPU seconds by process."""


class ServerProcesses:
    """The processes of the server that listens at a URL of this machine."""

    def __init__(self, url: str) -> None:
        port = urlsplit(url).port
        listening = {
            one.pid
            for one in psutil.net_connections("tcp")
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid
        }
        first = [psutil.Process(pid) for pid in sorted(listening)[:1]]
        self._all = [*first, *(child for one in first for child in one.children(recursive=True))]

    def cpu_seconds(self) -> CpuSeconds:
        """Since their start."""
        seconds: CpuSeconds = {}
        for process in self._all:
            times = process.cpu_times()
            kind = _kind(process.name())
            seconds[kind] = seconds.get(kind, 0.0) + times.user + times.system
        return seconds


def _kind(name: str) -> str:
    if "Core" in name:
        return CORE
    return WORKER if "Worker" in name or "::Wor" in name else API


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> CpuSeconds:
    """The CPU seconds between two readings."""
    return {kind: after[kind] - before[kind] for kind in after}
