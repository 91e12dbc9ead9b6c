"""How long the steps of a chat take, for the report and the trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.observe import tracing


@contextmanager
def measure(timings: dict[str, float], step: str) -> Iterator[None]:
    """Writes the duration of the block in milliseconds, even if it ends in an exception."""
    started = time.perf_counter()
    try:
        with tracing.step(step):
            yield
    finally:
        timings[step] = milliseconds(time.perf_counter() - started)


def milliseconds(seconds: float) -> float:
    """`seconds` in milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)
