"""Adds the middlewares for request ids, client metrics, log lines and traces."""

from __future__ import annotations

from fastapi import FastAPI

from server.observe.client_metrics import ClientMetrics
from server.observe.request_ids import RequestIds
from server.observe.request_log import RequestLog
from server.observe.tracing import TraceRequests


def install(app: FastAPI) -> None:
    """Adds them to `app`, around the middlewares it has, so that refusals are logged too."""
    app.add_middleware(TraceRequests)
    app.add_middleware(ClientMetrics)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestIds)
