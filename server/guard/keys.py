"""API keys: every path needs one, except an exact list; keys are compared in constant time.

The check comes before routing. An exact list has no prefixes, so no spelling of another path passes
for one of its paths, whatever a proxy or a mount does to the path.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from argparse import Namespace
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import Unauthorized
from server.guard.asgi import refuse, route_path

KEYLESS = frozenset({"/health/live", "/health/ready"})
"""Paths of Kubernetes' probes, which send no key."""


def take_vllm_keys(args: Namespace) -> list[str]:
    """The keys that vLLM was given, taken away from vLLM.

    vLLM's own check covers some paths only and does not take `x-api-key`. It is installed after the
    plugins (`init_entrypoints_middleware`), if there still are keys in `args` or the environment.
    """
    variable = os.environ.pop("VLLM_API_KEY", None)
    keys = args.api_key or [variable]
    args.api_key = None
    return [key for key in keys if key]


class KeyGuard:
    """ASGI middleware: 401 without one of `keys`, except for paths in `keyless` and KEYLESS."""

    def __init__(self, app: ASGIApp, keys: Iterable[str], keyless: frozenset[str]) -> None:
        self._app = app
        # Digests have one length, so comparing takes the same time for every guess.
        self._digests = [_digest(key) for key in keys]
        self._keyless = KEYLESS | keyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if scope["type"] == "lifespan" or self._passes(scope):
            await self._app(scope, receive, send)
        else:
            message = "this server needs a key: Authorization: Bearer KEY"
            await refuse(Unauthorized(message), scope, receive, send)

    def _passes(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        return (
            route_path(scope) in self._keyless
            or _is_preflight(scope, headers)
            or self._is_key(_offered(headers))
        )

    def _is_key(self, offered: str) -> bool:
        digest = _digest(offered)
        matches = [secrets.compare_digest(digest, valid) for valid in self._digests]
        return any(matches)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _offered(headers: Headers) -> str:
    """The key, as OpenAI's clients send it or as Anthropic's do."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    """A browser's CORS preflight, which cannot carry a key.

    Starlette's CORSMiddleware answers it; no route gets it.
    """
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and "origin" in headers
        and "access-control-request-method" in headers
    )
