"""The `roi` report as a response header, for routes whose bodies have no field for it.

Anthropic's messages and the Responses API have fixed schemas. `X-Sdrpn-Roi` carries the report on
every route that zooms, as JSON without the heat map.
"""

from __future__ import annotations

import json

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.roi_report import RoiReport

HEADER = "x-sdrpn-roi"
STATE = "sdrpn_roi"
"""The attribute of `request.state` that holds the handler's report."""


class ReportHeader:
    """ASGI middleware: adds HEADER to answers whose handler made a report."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""

        async def send_with_report(message: Message) -> None:
            report = scope.get("state", {}).get(STATE)
            if message["type"] == "http.response.start" and isinstance(report, RoiReport):
                fields = report.model_dump(mode="json", exclude={"heatmap"})
                MutableHeaders(scope=message)[HEADER] = json.dumps(fields)
            await send(message)

        await self._app(scope, receive, send_with_report)


def note_report(raw_request: Request | None, report: RoiReport) -> None:
    """Leaves the report for the response's header and for the log line."""
    if raw_request is not None:
        setattr(raw_request.state, STATE, report)


def drop_report(raw_request: Request | None) -> None:
    """Removes what `note_report` left, if anything."""
    if raw_request is not None and hasattr(raw_request.state, STATE):
        delattr(raw_request.state, STATE)
