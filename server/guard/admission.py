"""Bounds the requests in flight, and refuses new ones while the server shuts down.

A request is in flight from its admission until its last byte is sent: waiting for a picture thread,
in either pass, or streaming. Autoscaling uses this number, because vLLM's count of waiting requests
lacks those that have not reached its scheduler.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import RequestError, ServiceUnavailable, TooManyRequests
from server.guard.asgi import InferenceMiddleware, refuse
from server.observe import metrics


class Admission:
    """The requests in flight of one server process; `closed` is the reason to refuse all others."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._idle = asyncio.Event()
        self._idle.set()
        self.inflight = 0
        self.closed: str | None = None

    def enter(self) -> None:
        """Admits one request. Raises TooManyRequests or ServiceUnavailable."""
        if self.closed:
            raise ServiceUnavailable(self.closed)
        self.grow(1)

    def grow(self, more: int) -> None:
        """Counts an admitted request as `more` requests in addition, one for each of its chats.

        Raises TooManyRequests, and counts nothing, if that is past the limit.
        """
        if self.inflight + more > self.limit:
            raise TooManyRequests(f"{self.inflight} of {self.limit} requests are in flight already")
        self.inflight += more
        self._idle.clear()
        metrics.REQUESTS_INFLIGHT.inc(more)

    def leave(self, count: int = 1) -> None:
        """A request that was counted `count` times has ended."""
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


class AdmissionGuard(InferenceMiddleware):
    """429 past the limit, and 503 once closed."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        super().__init__(app)
        self._admission = admission

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admits one request, or refuses it."""
        try:
            self._admission.enter()
        except RequestError as error:
            await refuse(error, scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._admission.leave()
