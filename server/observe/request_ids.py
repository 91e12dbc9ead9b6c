"""The id of a request: in the headers of request and answer, in log lines and in the trace.

A caller's `X-Request-Id` is kept if it is short and plain, else it is replaced. The id is written
into the request's headers, because vLLM names engine requests after that header
(`OpenAIServing._base_request_id`) and logs those names.

asgi-correlation-id's middleware is not used: it adds its header to the answer, and with vLLM's
`--enable-request-id-headers` an answer would have two.
"""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"

_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_current: ContextVar[str | None] = ContextVar("sdrpn_request_id", default=None)


def current_request_id() -> str | None:
    """The id of the request that is being handled; None outside of one."""
    return _current.get()


class RequestIds:
    """ASGI middleware: gives every request an id, and returns it in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Loggers keep a filter they already have.
        logging.getLogger("vllm.sdrpn").addFilter(add_request_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI exchange."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _PLAIN.fullmatch(given) else uuid.uuid4().hex
        MutableHeaders(scope=scope)[HEADER] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        token = _current.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _current.reset(token)


def add_request_id(record: logging.LogRecord) -> bool:
    """A logging filter: adds the id as a field, which vLLM's JSON formatter writes."""
    record.request_id = current_request_id()
    return True
