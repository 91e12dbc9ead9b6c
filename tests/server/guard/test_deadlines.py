from __future__ import annotations

import asyncio
import json

import pytest

from server.api.errors import ServiceUnavailable
from tests.server.guard.apps import CHAT, Guarded


async def test_past_the_deadline_the_handler_is_cancelled() -> None:
    guarded = Guarded(seconds=0.1)
    async with guarded.client() as client:
        answer = await client.post(CHAT, json={"seconds": 60})
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "TimeoutError"
    assert "0.1 s" in answer.json()["error"]["message"]
    assert "retry-after" in answer.headers
    await asyncio.wait_for(guarded.cancelled.wait(), 5)
    assert guarded.admission.inflight == 0


async def test_a_caller_may_ask_for_less_time_but_not_for_more() -> None:
    guarded = Guarded(seconds=0.2)
    async with guarded.client() as client:
        for header in ("0.05", "1000", "inf", "nan", "soon", "-1", "0"):
            body = {"seconds": 60}
            answer = await client.post(CHAT, json=body, headers={"X-Request-Timeout": header})
            limit = "0.05 s" if header == "0.05" else "0.2 s"
            assert limit in answer.json()["error"]["message"]


async def test_a_request_in_time_is_left_alone() -> None:
    guarded = Guarded(seconds=5)
    async with guarded.client() as client:
        answer = await client.post(CHAT, json={})
    assert answer.status_code == 200
    assert not guarded.cancelled.is_set()


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
async def test_a_stream_ends_with_an_error_event(path: str) -> None:
    guarded = Guarded(seconds=0.2)
    async with guarded.client() as client:
        answer = await client.post(path, json={"stream": True})
    assert answer.status_code == 200
    events = answer.text.strip().split("\n\n")
    assert events[0] == 'data: {"first": 1}'
    if path == CHAT:
        assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == 503
        assert events[2] == "data: [DONE]"
    else:
        name, data = events[1].split("\n")
        assert name == "event: error"
        assert json.loads(data.removeprefix("data: "))["type"] == "error"
    await asyncio.wait_for(guarded.cancelled.wait(), 5)


async def test_all_requests_can_be_ended_at_once() -> None:
    guarded = Guarded()
    async with guarded.client() as client:
        running = [asyncio.create_task(client.post(CHAT, json={"seconds": 60})) for _ in range(3)]
        await guarded.running_handlers(3)
        guarded.running.end_all(ServiceUnavailable("the engine has died"))
        answers = await asyncio.gather(*running)
    assert {answer.status_code for answer in answers} == {503}
    assert await guarded.admission.until_idle(5)


async def test_a_500_of_a_dead_engine_is_a_503() -> None:
    guarded = Guarded()
    async with guarded.client() as client:
        assert (await client.post(CHAT, json={"fail": True})).status_code == 500
        guarded.engine_is_dead = True
        answer = await client.post(CHAT, json={"fail": True})
    assert answer.status_code == 503
    assert "engine has died" in answer.json()["error"]["message"]
