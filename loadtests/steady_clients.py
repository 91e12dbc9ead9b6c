"""A few clients that send requests without a pause, and a record of every request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from loadtests.chats import about, chat
from loadtests.pages import Pages

_TIMEOUT = httpx.Timeout(300.0, connect=10.0)


@dataclass(frozen=True)
class SentRequest:
    """One request: when it was sent (seconds since the start), its latency, and any error."""

    at: float
    latency: float
    error: str | None


@dataclass
class Traffic:
    """The requests answered so far."""

    requests: list[SentRequest] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started


@contextmanager
def steady_clients(url: str, model: str, clients: int, size: tuple[int, int]) -> Iterator[Traffic]:
    """For the block, `clients` threads send `url` chats about pages of `size`, each in a loop."""
    traffic, pages, stop = Traffic(), Pages(), threading.Event()

    def send_chats() -> None:
        with httpx.Client(timeout=_TIMEOUT) as http:
            while not stop.is_set():
                body = chat([about(pages.next(size))], model)
                at = traffic.now
                error = _send(http, f"{url}/v1/chat/completions", body)
                traffic.requests.append(SentRequest(at, traffic.now - at, error))

    threads = [threading.Thread(target=send_chats, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _send(http: httpx.Client, url: str, body: dict[str, object]) -> str | None:
    """None for an answer; otherwise the error."""
    try:
        answer = http.post(url, json=body)
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    return None if answer.json()["choices"] else "an answer without choices"
