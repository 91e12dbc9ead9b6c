"""The playground: a page on GET / that asks the model about a picture and shows where it zooms.

Plain files under `static/`, sent as they are, without a build step. The page's
Content-Security-Policy lets the browser fetch nothing from other servers. The page uses the public
API only (`static/api.js`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
FOLDER = "/playground"

PUBLIC_PATHS = frozenset(
    {"/"} | {f"{FOLDER}/{file.relative_to(STATIC)}" for file in STATIC.rglob("*") if file.is_file()}
)
"""Paths that are served without an API key: the page must load before it can ask for one.

Exact paths, not prefixes, so that no spelling of another path passes for one of them.
"""

_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # revalidated, so that modules of two versions never mix
}


class _Files(StaticFiles):
    """Files of one folder, each with our headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response


def attach(app: FastAPI) -> None:
    """Adds GET / and the page's files to `app`."""
    files = _Files(directory=STATIC)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def playground(request: Request) -> Response:
        """The page."""
        return await files.get_response("index.html", request.scope)

    app.mount(FOLDER, files, name="playground")
