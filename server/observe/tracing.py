"""One tree of OpenTelemetry spans for each request: our steps, and vLLM's spans of both passes.

Spans go where vLLM sends its own: `--otlp-traces-endpoint` sets the process's tracer provider;
without it spans are not recorded. The request's span replaces the caller's in the `traceparent`
header, from which vLLM takes the parent of its `llm_request` spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Receive, Scope, Send

from server.guard.asgi import InferenceMiddleware, noting_status, route_path
from server.observe.request_ids import current_request_id

_NAME = "sdrpn"
_W3C = TraceContextTextMapPropagator()


@contextmanager
def step(name: str) -> Iterator[None]:
    """A span around the block, as a child of the current span."""
    with trace.get_tracer(_NAME).start_as_current_span(name):
        yield


def start_span(name: str) -> Span:
    """A child of the current span; the caller ends it."""
    return trace.get_tracer(_NAME).start_span(name)


def note(**attributes: str | int | float) -> None:
    """Sets attributes of the current span, with the prefix `sdrpn.`."""
    for name, value in attributes.items():
        trace.get_current_span().set_attribute(f"sdrpn.{name}", value)


class TraceRequests(InferenceMiddleware):
    """A span, child of the caller's, for each request."""

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Traces one request."""
        caller = _W3C.extract(dict(Headers(scope=scope)))
        tracer = trace.get_tracer(_NAME)
        with tracer.start_as_current_span(route_path(scope), caller, SpanKind.SERVER) as span:
            span.set_attribute("request.id", current_request_id() or "")
            if span.is_recording():
                _W3C.inject(MutableHeaders(scope=scope))
            note = partial(span.set_attribute, "http.response.status_code")
            await self._app(scope, receive, noting_status(send, note))
