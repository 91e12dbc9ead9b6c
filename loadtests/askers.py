"""A handful of clients that ask without a pause, and remember how every request went."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType

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


class Askers:
    """`clients` threads that ask `url` one question after another; a context manager."""

    def __init__(self, url: str, model: str, clients: int, size: tuple[int, int]) -> None:
        self.asked: list[Asked] = []
        self._url = f"{url}/v1/chat/completions"
        self._model = model
        self._size = size
        self._pages = Pages()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(clients)]
        self._started = time.monotonic()

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _ask_on(self) -> None:
        with httpx.Client(timeout=_PATIENCE) as http:
            while not self._stop.is_set():
                body = chat([about(self._pages.next(self._size))], self._model)
                at = self.now
                error = _send(http, self._url, body)
                self.asked.append(Asked(at, self.now - at, error))


def _send(http: httpx.Client, url: str, body: dict[str, object]) -> str | None:
    """None for an answer; else what came instead of one."""
    try:
        answer = http.post(url, json=body)
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code != 200:
        return f"{answer.status_code}: {answer.text[:300]}"
    return None if answer.json()["choices"] else "an answer without choices"
