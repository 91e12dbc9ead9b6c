"""Two or more ways to do the same, by turns, and how long one takes beside another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """Seconds of each way in each round."""

    seconds: Mapping[str, tuple[float, ...]]

    def ratio(self, slow: str, fast: str) -> Ratio:
        """How many times as long `slow` takes."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return Ratio(tuple(a / b for a, b in pairs))

    def print(self, first: str) -> None:
        """A line for each way, and its ratio to `first`."""
        for name, seconds in self.seconds.items():
            median = statistics.median(seconds) * 1e3
            beside = "" if name == first else f"   {first} / this: {self.ratio(first, name)}"
            print(f"{name:28} {median:9.2f} ms{beside}", flush=True)


def alternate(ways: Mapping[str, Way], rounds: int) -> Timed:
    """All by turns, odd rounds in the opposite order. Round 0 warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        names = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in names:
            started = time.perf_counter()
            ways[name](number)
            if number > 0:
                seconds[name].append(time.perf_counter() - started)
    return Timed({name: tuple(values) for name, values in seconds.items()})
