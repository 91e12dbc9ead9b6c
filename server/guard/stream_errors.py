"""The event that ends a stream with an error, in the form of each route."""

from __future__ import annotations

import json
from typing import Any

from server.api.errors import RequestError
from server.guard.error_form import anthropic_error


def last_event(path: str, error: RequestError) -> str:
    """Server-sent events that end a stream of `path` with `error`.

    OpenAI's chat and completion streams carry an error object and `[DONE]`; the Responses API and
    Anthropic's messages have an event named `error`.
    """
    body = error.body()
    if path == "/v1/messages":
        return _named(anthropic_error(error.status, str(error)))
    if path == "/v1/responses":
        return _named({"type": "error", "code": error.type, "message": str(error), "param": None})
    return f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n"


def _named(payload: dict[str, Any]) -> str:
    return f"event: error\ndata: {json.dumps(payload)}\n\n"
