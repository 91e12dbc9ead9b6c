"""Two or more ways to do the same, by turns, and how long one takes beside another.

Two clocks: the wall's, and the processor's time of this process and all that it started. On a
machine that others use too, only the second can be compared.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

Way = Callable[[int], object]
"""Does the work once; the number of the round makes it new work."""


@dataclass(frozen=True)
class Ratio:
    """Rounds' ratios of seconds: above 1, the first way was slower. Paired by round, because a
    machine has slow and fast minutes.
    """

    rounds: tuple[float, ...]

    def __str__(self) -> str:
        low, high = min(self.rounds), max(self.rounds)
        return f"{statistics.median(self.rounds):.3f} ({low:.3f}–{high:.3f})"


@dataclass(frozen=True)
class Timed:
    """Seconds of each way in each round, by the wall clock and of the processor."""

    seconds: Mapping[str, tuple[float, ...]]
    processor: Mapping[str, tuple[float, ...]]

    def ratio(self, slow: str, fast: str, processor: bool = False) -> Ratio:
        """How many times as long `slow` takes."""
        clock = self.processor if processor else self.seconds
        pairs = zip(clock[slow], clock[fast], strict=True)
        return Ratio(tuple(a / b for a, b in pairs))

    def print(self, first: str) -> None:
        """Two lines for each way, and its ratios to `first`."""
        for name in self.seconds:
            for clock, processor in ((self.seconds, False), (self.processor, True)):
                median = statistics.median(clock[name]) * 1e3
                ratio = "" if name == first else f"   {first} / this: "
                beside = f"{ratio}{self.ratio(first, name, processor)}" if ratio else ""
                unit = "ms of processor" if processor else "ms"
                print(f"{name:28} {median:9.2f} {unit:15}{beside}", flush=True)


def alternate(ways: Mapping[str, Way], rounds: int) -> Timed:
    """All by turns, odd rounds in the opposite order. Round 0 warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in names:
            worked, started = _processor_seconds(), time.perf_counter()
            ways[name](number)
            if number > 0:
                seconds[name].append(time.perf_counter() - started)
                processor[name].append(_processor_seconds() - worked)
    return Timed(_tuples(seconds), _tuples(processor))


def _tuples(lists: Mapping[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values) for name, values in lists.items()}


def _processor_seconds() -> float:
    """Of all threads alive; the kernel counts them in nanoseconds."""
    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(OSError):  # it has just ended
                    total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9
