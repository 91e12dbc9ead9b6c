"""Metrics of inference requests as their client sees them: both passes together.

vLLM's own histograms count each pass as a request of its own; an objective for users needs these.
"""

from __future__ import annotations

import time

from prometheus_client import Counter, Histogram
from starlette.types import Message, Receive, Scope, Send

from server.guard.asgi import InferenceMiddleware

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_STATUSES = (200, 400, 401, 404, 408, 413, 429, 500, 503)

RESPONSES = Counter("sdrpn_responses", "Answers to inference requests, by status.", ["status"])
for _status in _STATUSES:
    RESPONSES.labels(str(_status))
REQUEST_SECONDS = Histogram(
    "sdrpn_request_seconds",
    "An answered inference request, from its arrival to its last byte.",
    buckets=_SECONDS,
)
FIRST_CHUNK_SECONDS = Histogram(
    "sdrpn_first_chunk_seconds",
    "An answered inference request, from its arrival to the first byte of its answer's body.",
    buckets=_SECONDS,
)


class ClientMetrics(InferenceMiddleware):
    """Counts answers and times the successful ones: refusals are quick."""

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Observes one request."""
        started = time.perf_counter()
        answer = _Answer()

        async def observed(message: Message) -> None:
            await send(message)
            answer.note(message, time.perf_counter() - started)

        await self._app(scope, receive, observed)


class _Answer:
    """One answer as it is sent."""

    def __init__(self) -> None:
        self._succeeds = False
        self._has_begun = False

    def note(self, message: Message, seconds: float) -> None:
        """A message that was sent so many seconds after the request's arrival."""
        if message["type"] == "http.response.start":
            RESPONSES.labels(str(message["status"])).inc()
            self._succeeds = message["status"] < 400
        elif message["type"] == "http.response.body" and self._succeeds:
            if message.get("body") and not self._has_begun:
                self._has_begun = True
                FIRST_CHUNK_SECONDS.observe(seconds)
            if not message.get("more_body", False):
                REQUEST_SECONDS.observe(seconds)
