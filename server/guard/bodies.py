"""How many bytes of requests the server reads: of each, and of all in flight together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import BodyTooLarge, RequestError, RequestTimeout, TooManyRequests
from server.guard.asgi import refuse

MAX_BODY_BYTES = 64 * 2**20
"""Some pictures of the largest size, or many of a usual one."""
MAX_BODIES_BYTES = 2**30
"""All bodies in flight: what a crowd of the largest requests may hold before it is told to wait."""
MAX_UPLOAD_SECONDS = 60.0
"""A body that takes longer holds a place that others wait for."""


class _HungUp(Exception):
    """The client went away while it was sending."""


@dataclass
class _Held:
    """How much of one body was read and is counted as in flight; `whole` once there is no more."""

    bytes: int = 0
    whole: bool = False


class BodyGuard:
    """ASGI middleware: 413 for too many bytes, 429 while all bodies together have too many.

    The body is read here, whole, as the handlers would do, and given on in one piece.
    """

    def __init__(
        self, app: ASGIApp, each: int = MAX_BODY_BYTES, together: int = MAX_BODIES_BYTES
    ) -> None:
        self._app = app
        self._each = each
        self._together = together
        self._together_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held = _Held()
        try:
            body = await self._read(receive, held)
        except RequestError as error:
            self._release(held)  # before the answer: it may wait for the client
            await refuse(error, scope, receive, send, unread=not held.whole)
            return
        except _HungUp:
            self._release(held)
            return
        try:
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._release(held)

    async def _read(self, receive: Receive, held: _Held) -> bytes:
        """The whole body; `held` counts its bytes, also where reading ends in an exception."""
        body = bytearray()
        try:
            async with asyncio.timeout(MAX_UPLOAD_SECONDS):
                while not held.whole:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _HungUp
                    chunk = message.get("body", b"")
                    held.whole = not message.get("more_body", False)
                    self._hold(held, len(chunk))
                    body += chunk
        except TimeoutError as error:
            limit = f"{MAX_UPLOAD_SECONDS:.0f} s"
            raise RequestTimeout(
                f"the request's body took longer than {limit} to arrive"
            ) from error
        return bytes(body)

    def _hold(self, held: _Held, more: int) -> None:
        if held.bytes + more > self._each:
            raise BodyTooLarge(f"a request has more than {self._each} bytes")
        if self._together_held + more > self._together:
            raise TooManyRequests("the server is holding as many bytes of requests as it can")
        held.bytes += more
        self._together_held += more

    def _release(self, held: _Held) -> None:
        self._together_held -= held.bytes


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that brings `body` in one message, and then what the real one brings."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
