"""Guards around vLLM's app, from the outside in: keys, paths, admission, deadlines, bodies.

Plain ASGI middlewares, one idea a file, around everything vLLM put into its app.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI

from server.guard.admission import Admission, AdmissionGuard
from server.guard.bodies import BodyGuard
from server.guard.deadlines import DeadlineGuard, RunningRequests
from server.guard.keys import KeyGuard
from server.guard.paths import PathGuard


def install(
    app: FastAPI,
    *,
    keys: Iterable[str],
    keyless: frozenset[str],
    closed: frozenset[str],
    admission: Admission,
    running: RunningRequests,
    body_bytes: int,
    upload_seconds: float,
) -> None:
    """Adds all guards to `app`, before it serves its first request.

    Every path needs one of `keys`, if there are any, except the paths in `keyless`. Paths in
    `closed` answer 404.
    """
    # Starlette puts each added middleware around those before it: the outermost comes last.
    app.add_middleware(BodyGuard, each=body_bytes, upload_seconds=upload_seconds)
    app.add_middleware(DeadlineGuard, running=running)
    app.add_middleware(AdmissionGuard, admission=admission)
    app.add_middleware(PathGuard, closed=closed)
    keys = list(keys)
    if keys:
        app.add_middleware(KeyGuard, keys=keys, keyless=keyless)
