"""One log line for each inference request: path, status, duration and figures of its report.

With vLLM's `--logging-config.formatter json` these are JSON fields. The line has no prompts,
pictures, keys or answers; vLLM's `--enable-log-requests` logs prompts.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import Receive, Scope, Send

from server.api.roi_report import RoiReport
from server.guard.asgi import InferenceMiddleware, noting_status, route_path
from server.observe.report_header import STATE
from server.observe.request_ids import current_request_id

logger = logging.getLogger("vllm.sdrpn")


class RequestLog(InferenceMiddleware):
    """Logs each request when it ends, in whatever way."""

    async def around(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Logs one request."""
        statuses: list[int] = []
        started = time.perf_counter()
        try:
            await self._app(scope, receive, noting_status(send, statuses.append))
        finally:
            _log(scope, next(iter(statuses), None), time.perf_counter() - started)


def _log(scope: Scope, status: int | None, seconds: float) -> None:
    report = scope.get("state", {}).get(STATE)
    roi = _fields(report) if isinstance(report, RoiReport) else {}
    path = route_path(scope)
    logger.info(
        "%s %s in %.3f s, id %s%s",
        path,
        status or "unanswered",
        seconds,
        current_request_id(),
        "".join(f", {name} {value}" for name, value in roi.items()),
        extra={"path": path, "status": status, "seconds": round(seconds, 4), **roi},
    )


def _fields(report: RoiReport) -> dict[str, Any]:
    """Figures of a report, without content."""
    fields: dict[str, Any] = {"regions": len(report.regions)}
    if report.skipped:
        fields["skipped"] = report.skipped.partition(":")[0]
    if report.pass1_usage:
        fields["prompt_tokens"] = report.pass1_usage.prompt_tokens
        fields["cached_tokens"] = report.pass1_usage.cached_tokens
    return fields
