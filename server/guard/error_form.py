"""One form for every error, whoever answers it: vLLM, FastAPI, Starlette or sdrpn.

OpenAI's error object on every route, Anthropic's on `/v1/messages`. The outermost middleware, so
that it also sees what never reaches a route: wrong methods, unknown paths, unparsable bodies. It
also makes requests regular (a trailing slash, HEAD on a health route) and lets pages of other
origins read our response headers.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.guard.asgi import route_path

_HEALTH = frozenset({"/health", "/health/live", "/health/ready", "/ping"})
_EXPOSED_HEADERS = "X-Sdrpn-Roi, X-Request-Id, Retry-After"

_ANTHROPIC_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Anthropic's error object."""
    other = "invalid_request_error" if status < 500 else "api_error"
    kind = _ANTHROPIC_TYPES.get(HTTPStatus(status), other)
    return {"type": "error", "error": {"type": kind, "message": message}}


def error_body(path: str, status: int, body: bytes) -> bytes:
    """`body`, the answer of an error on `path`, in the form that the path's clients expect."""
    error = _error_object(status, body)
    if path.startswith("/v1/messages"):
        return json.dumps(anthropic_error(status, error["message"])).encode()
    return json.dumps({"error": error}).encode()


class ErrorForm:
    """ASGI middleware: gives errors their form; `cors`: pages of other origins are allowed."""

    def __init__(self, app: ASGIApp, cors: bool) -> None:
        self._app = app
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if scope["type"] == "http":
            await _Answer(scope, send, self._cors).of(self._app, receive)
        else:
            await self._app(scope, receive, send)


class _Answer:
    """The answer to one request; an error is held until its body is complete."""

    def __init__(self, scope: Scope, send: Send, cors: bool) -> None:
        self._scope = _regular(scope)
        self._send = send
        self._cors = cors
        self._error: Message | None = None
        self._body = bytearray()

    async def of(self, app: ASGIApp, receive: Receive) -> None:
        await app(self._scope, receive, self._send_in_form)

    async def _send_in_form(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._cors and "origin" in Headers(scope=self._scope):
                MutableHeaders(scope=message)["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
            if message["status"] >= 400 and route_path(self._scope) not in _HEALTH:
                self._error = message
                return
        elif message["type"] == "http.response.body" and self._error is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_error(self._error)
            return
        await self._send(message)

    async def _send_error(self, start: Message) -> None:
        body = error_body(route_path(self._scope), start["status"], bytes(self._body))
        headers = MutableHeaders(scope=start)
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _regular(scope: Scope) -> Scope:
    """`scope` with its root path and no trailing slash, and with GET for HEAD on a health route.

    A proxy may remove the root path or leave it; Starlette's mounts need it.
    The HTTP server drops the body of an answer to HEAD by itself.
    """
    root = scope.get("root_path", "")
    route = route_path(scope)
    if not route.startswith("/playground"):
        route = route.rstrip("/") or "/"
    path = root + route
    is_head = scope["method"] == "HEAD" and route in _HEALTH
    return {**scope, "path": path, "method": "GET" if is_head else scope["method"]}


def _error_object(status: int, body: bytes) -> dict[str, Any]:
    """OpenAI's error object with all four fields, out of whatever was answered."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    error = answer.get("error", answer.get("detail")) if isinstance(answer, dict) else None
    given = error if isinstance(error, dict) else {"message": error}
    phrase = HTTPStatus(status).phrase
    message = given.get("message") or phrase
    return {
        "message": message if isinstance(message, str) else json.dumps(message),
        "type": given.get("type") or f"{phrase.title().replace(' ', '')}Error",
        "param": given.get("param"),
        "code": given.get("code") or status,
    }
