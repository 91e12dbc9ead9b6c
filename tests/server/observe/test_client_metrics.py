from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import REGISTRY

from server.observe.client_metrics import ClientMetrics


def client() -> httpx.AsyncClient:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def answer(status: int) -> JSONResponse:
        return JSONResponse({}, status_code=status)

    @app.post("/v1/completions")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            yield "data: 2\n\n"

        return StreamingResponse(chunks())

    app.add_middleware(ClientMetrics)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


COUNTS = ("sdrpn_request_seconds_count", "sdrpn_first_chunk_seconds_count")


@pytest.mark.parametrize(("status", "timed"), [(200, 1), (400, 0), (503, 0)])
async def test_every_status_is_counted_and_success_is_timed(status: int, timed: int) -> None:
    before = [sample(name) for name in COUNTS]
    answers = sample("sdrpn_responses_total", status=str(status))
    await client().post("/v1/chat/completions", params={"status": status})
    assert sample("sdrpn_responses_total", status=str(status)) == answers + 1
    assert [sample(name) for name in COUNTS] == [count + timed for count in before]


async def test_a_stream_is_one_request_with_one_first_chunk() -> None:
    before = [sample(name) for name in COUNTS]
    await client().post("/v1/completions")
    assert [sample(name) for name in COUNTS] == [count + 1 for count in before]
