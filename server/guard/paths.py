"""The paths that are served: an exact list, and none of vLLM's other routes.

vLLM has routes that change the engine (scaling, aborting the requests of others, loading adapters,
sleeping, in development mode executing calls in the workers) and routes that bypass our checks of
pictures. A list of open paths stays correct when vLLM adds a route.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import NotFound
from server.guard.asgi import INFERENCE, refuse, route_path

_OPEN = INFERENCE | {
    "/",
    "/detokenize",
    "/docs",
    "/docs/oauth2-redirect",
    "/health",
    "/health/live",
    "/health/ready",
    "/load",
    "/metrics",
    "/openapi.json",
    "/ping",
    "/redoc",
    "/v1/models",
    "/version",
}
_OPEN_PATTERN = re.compile(
    r"/v1/models/[^\x00]+"
    r"|/v1/responses/resp_[A-Za-z0-9_-]+(/cancel)?"
    r"|/playground/[A-Za-z0-9._/-]+"
)


def is_open(path: str) -> bool:
    """Whether `path` is served."""
    return path in _OPEN or _OPEN_PATTERN.fullmatch(path) is not None


class PathGuard:
    """ASGI middleware: 404 for every path that is not open, or is in `closed`."""

    def __init__(self, app: ASGIApp, closed: frozenset[str]) -> None:
        self._app = app
        self._closed = closed

    def _is_open(self, path: str) -> bool:
        return is_open(path) and path not in self._closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if scope["type"] == "http" and not self._is_open(route_path(scope)):
            await refuse(NotFound(f"there is nothing at {scope['path']}"), scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)
