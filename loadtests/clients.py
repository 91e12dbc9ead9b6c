"""A handful of clients that ask without a pause, and remember how every request went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from loadtests.chats import about, chat
from loadtests.pages import Pages

_PATIENCE = httpx.Timeout(300.0, connect=10.0)


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent (seconds since the start), how long it took, any error."""

    at: float
    seconds: float
    error: str | None


@dataclass
class Askers:
    """What has been asked so far."""

    asked: list[Asked] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started


@contextmanager
def asking(url: str, model: str, clients: int, size: tuple[int, int]) -> Iterator[Askers]:
    """`clients` threads that ask `url` about pages of `size`, one after another, for the block."""
    askers, pages, stop = Askers(), Pages(), threading.Event()

    def ask_on() -> None:
        with httpx.Client(timeout=_PATIENCE) as http:
            while not stop.is_set():
                body = chat([about(pages.next(size))], model)
                at = askers.now
                error = _send(http, f"{url}/v1/chat/completions", body)
                askers.asked.append(Asked(at, askers.now - at, error))

    threads = [threading.Thread(target=ask_on, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield askers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _send(http: httpx.Client, url: str, body: dict[str, object]) -> str | None:
    """None for an answer; else what came instead of one."""
    try:
        answer = http.post(url, json=body)
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    return None if answer.json()["choices"] else "an answer without choices"
