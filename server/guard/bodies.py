"""Bounds the bytes of request bodies: of each, and of all in flight together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import BodyTooLarge, RequestError, RequestTimeout, TooManyRequests
from server.guard.asgi import refuse
from server.guard.content_encoding import Unpacker

MAX_BODY_BYTES = 64 * 2**20
"""A few pictures of the largest size, or many of a usual one, at the default limit of a picture."""
MAX_BODIES_BYTES = 2**30
"""Bytes of all bodies in flight; beyond it, requests are answered 429."""


def body_limit(picture_bytes: int) -> int:
    """Bytes of one body: MAX_BODY_BYTES, or more where one picture of `picture_bytes` in base64 and
    the text of its chat need more.
    """
    return max(MAX_BODY_BYTES, picture_bytes * 3 // 2)


class _Disconnected(Exception):
    """The client closed the connection while it was sending."""


@dataclass
class _Held:
    """Bytes of one body that are read and counted; `whole` once all of it is read."""

    bytes: int = 0
    whole: bool = False


class BodyGuard:
    """ASGI middleware: 413 for too many bytes, 429 while all bodies together have too many.

    The whole body is read here, unpacked if it is compressed, and passed on in one message. Limits
    count unpacked bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        each: int,
        upload_seconds: float,
        together: int = MAX_BODIES_BYTES,
    ) -> None:
        """`upload_seconds` bounds the arrival of a body, which occupies a place in flight."""
        self._app = app
        self._upload_seconds = upload_seconds
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
            headers = Headers(scope=scope)
            unpacker = Unpacker(", ".join(headers.getlist("content-encoding")))
            body = await self._read(receive, held, unpacker)
        except RequestError as error:
            self._release(held)  # before the answer: it may wait for the client
            await refuse(error, scope, receive, send, unread=not held.whole)
            return
        except _Disconnected:
            self._release(held)
            return
        try:
            await self._app(_plain(scope, len(body)), _replay(body, receive), send)
        finally:
            self._release(held)

    async def _read(self, receive: Receive, held: _Held, unpacker: Unpacker) -> bytes:
        """The whole body, unpacked; `held` counts its bytes, also if reading raises."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._upload_seconds):
                while not held.whole:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Disconnected
                    held.whole = not message.get("more_body", False)
                    for piece in unpacker.unpack(message.get("body", b"")):
                        self._hold(held, len(piece))
                        body += piece
                        await asyncio.sleep(0)  # others run while a large body is unpacked
        except TimeoutError as error:
            limit = f"{self._upload_seconds:g} s"
            raise RequestTimeout(
                f"the request's body took longer than {limit} to arrive"
            ) from error
        unpacker.finish()
        return bytes(body)

    def _hold(self, held: _Held, more: int) -> None:
        if held.bytes + more > self._each:
            raise BodyTooLarge(f"a request has more than {self._each} bytes")
        if self._together_held + more > self._together:
            raise TooManyRequests(
                "the requests in flight have as many bytes as the server can hold"
            )
        held.bytes += more
        self._together_held += more

    def _release(self, held: _Held) -> None:
        self._together_held -= held.bytes


def _plain(scope: Scope, length: int) -> Scope:
    """`scope` with the headers of a body of `length` bytes that is not compressed."""
    if "content-encoding" not in Headers(scope=scope):
        return scope
    headers = [
        (name, str(length).encode() if name == b"content-length" else value)
        for name, value in scope["headers"]
        if name != b"content-encoding"
    ]
    return {**scope, "headers": headers}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns `body` in one message, and then what the real one returns."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
