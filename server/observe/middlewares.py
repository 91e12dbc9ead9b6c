"""A request's id, its log line and its trace (its metrics: `server.observe.metrics`)."""

from __future__ import annotations

from fastapi import FastAPI

from server.observe.request_ids import RequestIds
from server.observe.request_log import RequestLog
from server.observe.tracing import TraceRequests


def install(app: FastAPI) -> None:
    """Puts all of it around `app`, refusals of other middlewares included if these came before."""
    app.add_middleware(TraceRequests)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestIds)
