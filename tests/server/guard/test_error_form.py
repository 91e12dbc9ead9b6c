from __future__ import annotations

import json

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from server.guard.error_form import ErrorForm, error_body


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": "Unauthorized"}', "Unauthorized"),
        (b"Internal Server Error", "Not Found"),
        (b"", "Not Found"),
        (b'{"error": {"message": "no such thing"}}', "no such thing"),
    ],
)
def test_whatever_was_answered_becomes_one_form(answer: bytes, message: str) -> None:
    error = json.loads(error_body("/v1/models/x", 404, answer))["error"]
    assert error == {"message": message, "type": "NotFoundError", "param": None, "code": 404}
    anthropic = json.loads(error_body("/v1/messages", 404, answer))
    assert anthropic == {"type": "error", "error": {"type": "not_found_error", "message": message}}


@pytest.mark.parametrize("cors", [True, False])
async def test_pages_of_other_origins_can_read_our_headers_where_they_may(cors: bool) -> None:
    app = FastAPI()
    app.add_middleware(ErrorForm, cors=cors)
    if cors:  # vLLM adds it after, so around, ours
        app.add_middleware(CORSMiddleware, allow_origins=["*"])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/nothing", headers={"Origin": "https://example.com"})
    exposed = answer.headers.get("access-control-expose-headers", "").lower().split(", ")
    assert ({"x-sdrpn-roi", "x-request-id", "retry-after"} <= set(exposed)) is cors
    assert ("access-control-allow-origin" in answer.headers) is cors
