"""A small OpenTelemetry collector: takes spans over OTLP/HTTP and keeps them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What was collected; `url` is what exporters are given."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spans: list[Span] = []

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keeps the spans of one export."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self._spans += scope.spans

    def trace(self, trace_id: str, spans: int, within: float) -> list[Span]:
        """The spans of one trace, once there are so many of them, or when time is up."""
        deadline = time.monotonic() + within
        while True:
            found = [span for span in self._spans if span.trace_id.hex() == trace_id]
            if len(found) >= spans or time.monotonic() > deadline:
                return found
            time.sleep(0.1)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback, for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()
