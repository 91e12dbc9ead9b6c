"""Ends running requests early: at their deadline, at shutdown, or when the engine has died.

The handler gets `http.disconnect` from `receive`, as if the client had closed the connection:
vLLM's `with_cancellation` and Starlette's StreamingResponse then cancel the pass that is running,
and the engine frees its cache. What the handler still sends is dropped; the client gets the error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import DeadlineExceeded, RequestError, ServiceUnavailable
from server.guard.asgi import InferenceMiddleware, refuse, route_path
from server.guard.stream_errors import last_event

DEADLINE_HEADER = "x-request-timeout"
"""The caller's deadline in seconds. It can only shorten the server's."""


class RunningRequests:
    """The running requests of one server process; each ends after `seconds` at the latest.

    While `engine_is_dead()`, a 500 from vLLM is answered as 503.
    """

    def __init__(self, seconds: float, engine_is_dead: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._engine_is_dead = engine_is_dead
        self._exchanges: set[_Exchange] = set()

    def end_all(self, error: RequestError) -> None:
        """Ends every running request with `error`."""
        for exchange in list(self._exchanges):
            exchange.end(error)

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets `app` answer one request until it is done, or ended early."""
        exchange = _Exchange(receive, send, self._engine_is_dead)
        seconds = min(self._seconds, _callers_deadline(scope))
        too_late = DeadlineExceeded(f"the request took longer than {seconds:g} s")
        timer = asyncio.get_running_loop().call_later(seconds, exchange.end, too_late)
        self._exchanges.add(exchange)
        try:
            await app(scope, exchange.receive, exchange.send)
        except Exception:  # a handler that was ended may fail in any way; the client gets `error`
            if exchange.error is None:
                raise
        finally:
            timer.cancel()
            self._exchanges.discard(exchange)
        await exchange.finish(scope)


class DeadlineGuard(InferenceMiddleware):
    """Runs each request as `running` says."""

    def __init__(self, app: ASGIApp, running: RunningRequests) -> None:
        super().__init__(app)
        self._running = running

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs one request."""
        await self._running.run(self._app, scope, receive, send)


def _callers_deadline(scope: Scope) -> float:
    """The caller's deadline in seconds; infinite if none is given or it is no positive number."""
    try:
        seconds = float(Headers(scope=scope).get(DEADLINE_HEADER, ""))
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf


class _Exchange:
    """One request and its answer; `error` is what ended it early, or None."""

    def __init__(self, receive: Receive, send: Send, engine_is_dead: Callable[[], bool]) -> None:
        self.error: RequestError | None = None
        self._receive = receive
        self._send = send
        self._engine_is_dead = engine_is_dead
        self._ended = asyncio.Event()
        self._body_read = False
        self._answer: Message | None = None
        self._answered = False

    def end(self, error: RequestError) -> None:
        """Ends the exchange with `error`, unless it has ended."""
        if self.error is None and not self._answered:
            self.error = error
            self._ended.set()

    async def receive(self) -> Message:
        """The client's next message; `http.disconnect` once the exchange was ended."""
        message = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({message, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                return {"type": "http.disconnect"}
            self._body_read = not message.result().get("more_body", False)
            return message.result()
        finally:
            message.cancel()
            ended.cancel()

    async def send(self, message: Message) -> None:
        """Sends the handler's message, unless the exchange was ended."""
        if message["type"] == "http.response.start":
            if message["status"] == 500 and self._engine_is_dead():
                self.end(ServiceUnavailable("the engine has died; the server is stopping"))
            if self.error is None:
                self._answer = message
        if self.error is None:
            self._answered = not message.get("more_body", message["type"] != "http.response.body")
            await self._send(message)

    async def finish(self, scope: Scope) -> None:
        """Sends `error` to the client: as the answer, or as the last event of a stream."""
        if self.error is None:
            return
        if self._answer is None:
            unread = not self._body_read
            await refuse(self.error, scope, self._receive, self._send, unread=unread)
        elif _is_stream(self._answer):
            event = last_event(route_path(scope), self.error).encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})


def _is_stream(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith("text/event-stream")
