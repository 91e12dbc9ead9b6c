"""What stands between the internet and the handlers, from the outside in: keys, paths, admission,
endings, bodies.

Plain ASGI middlewares, one idea a file. They go around everything vLLM put into its app.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI

from server.guard.admission import Admission, AdmissionGuard
from server.guard.bodies import BodyGuard
from server.guard.deadlines import Endings, EndingsGuard
from server.guard.keys import KeyGuard
from server.guard.paths import PathGuard


def install(
    app: FastAPI,
    *,
    keys: Iterable[str],
    keyless: frozenset[str],
    closed: frozenset[str],
    admission: Admission,
    endings: Endings,
) -> None:
    """Puts all guards around `app`, which must not have served anything yet.

    Without `keys` none is asked for; `keyless` paths never need one; `closed` ones are not served.
    """
    # Starlette puts each added middleware around those before it: the outermost comes last.
    app.add_middleware(BodyGuard)
    app.add_middleware(EndingsGuard, endings=endings)
    app.add_middleware(AdmissionGuard, admission=admission)
    app.add_middleware(PathGuard, closed=closed)
    keys = list(keys)
    if keys:
        app.add_middleware(KeyGuard, keys=keys, keyless=keyless)
