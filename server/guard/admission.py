"""How many requests are worked on at once, and none of them new once the server is ending.

Everything admitted is in flight until its last byte is sent: waiting for a picture thread, in
either pass, or streaming. vLLM's own count of waiting requests misses what has not reached its
scheduler, so this is the number to scale by.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import RequestError, ServiceUnavailable, TooManyRequests
from server.guard.asgi import is_inference, refuse
from server.observe import metrics


class Admission:
    """The requests in flight of one server process; `closed` says why no more are taken."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._idle = asyncio.Event()
        self._idle.set()
        self.inflight = 0
        self.closed: str | None = None

    def enter(self) -> None:
        """Takes one more request. Raises TooManyRequests or ServiceUnavailable."""
        if self.closed:
            raise ServiceUnavailable(self.closed)
        self.grow(1)

    def grow(self, more: int) -> None:
        """A request that has entered counts for `more` besides: as many chats as it brings.

        Raises TooManyRequests where that cannot be.
        """
        if self.inflight + more > self.limit:
            raise TooManyRequests(f"{self.inflight} of {self.limit} requests are in flight already")
        self.inflight += more
        self._idle.clear()
        metrics.REQUESTS_INFLIGHT.inc(more)

    def leave(self, count: int = 1) -> None:
        """What entered as `count` requests is answered or abandoned."""
        self.inflight -= count
        metrics.REQUESTS_INFLIGHT.dec(count)
        if not self.inflight:
            self._idle.set()

    async def until_idle(self, seconds: float) -> bool:
        """Waits until nothing is in flight; False if that takes longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


class AdmissionGuard:
    """ASGI middleware: 429 past the limit and 503 once closed, for requests that cost something."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if not is_inference(scope):
            await self._app(scope, receive, send)
            return
        try:
            self._admission.enter()
        except RequestError as error:
            await refuse(error, scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._admission.leave()
