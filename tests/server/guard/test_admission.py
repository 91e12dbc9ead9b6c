from __future__ import annotations

import asyncio

import pytest

from server.api.errors import TooManyRequests
from server.guard.admission import Admission
from tests.server.guard.apps import CHAT, Guarded


async def test_past_the_limit_the_answer_is_429_at_once() -> None:
    guarded = Guarded(limit=2)
    async with guarded.client() as client:
        slow = [asyncio.create_task(client.post(CHAT, json={"wait": True})) for _ in range(2)]
        await guarded.running_handlers(2)
        refused = await client.post(CHAT, json={})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == 429
        assert (await client.get("/health/live")).status_code == 200, "only work is counted"
        guarded.finish.set()
        assert [answer.status_code for answer in await asyncio.gather(*slow)] == [200, 200]
        assert (await client.post(CHAT, json={})).status_code == 200
    assert guarded.admission.inflight == 0


async def test_closed_nothing_new_is_taken_and_the_running_ones_finish() -> None:
    guarded = Guarded()
    async with guarded.client() as client:
        running = asyncio.create_task(client.post(CHAT, json={"wait": True}))
        await guarded.running_handlers(1)
        guarded.admission.closed = "the server is shutting down"
        refused = await client.post(CHAT, json={})
        assert refused.status_code == 503
        assert "shutting down" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert not await guarded.admission.until_idle(0.01)
        guarded.finish.set()
        assert (await running).status_code == 200
        assert await guarded.admission.until_idle(1)


async def test_a_request_that_fails_leaves_its_place() -> None:
    guarded = Guarded(limit=1)
    async with guarded.client() as client:
        for _ in range(3):
            assert (await client.post(CHAT, content=b"{")).status_code == 422
    assert guarded.admission.inflight == 0


def test_a_request_that_brings_more_counts_for_more() -> None:
    admission = Admission(limit=3)
    admission.enter()
    with pytest.raises(TooManyRequests):
        admission.grow(3)
    assert admission.inflight == 1, "nothing is taken in part"
    admission.grow(2)
    with pytest.raises(TooManyRequests):
        admission.enter()
    admission.leave(2)
    admission.leave()
    assert admission.inflight == 0
