"""Shared by guards and routes: which requests are inference, and how one is refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import RequestError
from server.observe import metrics

INFERENCE = frozenset(
    {
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/completions",
        "/v1/regions",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/invocations",
        "/tokenize",
    }
)
"""Paths whose POST takes time of the engine or of the picture threads."""

_DISCARD_SECONDS = 5.0


def route_path(scope: Scope) -> str:
    """The path that Starlette's router matches: without the root path, where a proxy leaves that.

    Routes, guards and logs must see the same path.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root or not f"{path}/".startswith(f"{root}/"):
        return path
    return path.removeprefix(root) or "/"


def is_inference(scope: Scope) -> bool:
    """Whether this is a request that is admitted, counted and given a deadline."""
    return bool(
        scope["type"] == "http" and scope["method"] == "POST" and route_path(scope) in INFERENCE
    )


class InferenceMiddleware:
    """ASGI middleware around inference requests; all others pass it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if is_inference(scope):
            await self.around(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One inference request."""
        raise NotImplementedError


def noting_status(send: Send, note: Callable[[int], None]) -> Send:
    """`send`, with the status of the answer given to `note`."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            note(int(message["status"]))
        await send(message)

    return noted


def error_response(error: RequestError) -> JSONResponse:
    """The HTTP answer to `error`, which is counted. `ErrorForm` gives it the form of its path."""
    metrics.count_rejection(error.cause)
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


async def refuse(
    error: RequestError, scope: Scope, receive: Receive, send: Send, *, unread: bool = True
) -> None:
    """Answers with `error`, and counts it.

    With `unread`, the rest of the body is read first and dropped: a client that is still sending
    when the connection closes gets a broken pipe instead of the answer.
    """
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                await _discard(receive)
    await error_response(error)(scope, receive, send)


async def _discard(receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass
