from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from server.guard import bodies
from server.guard.bodies import BodyGuard


class Echo:
    """Answers with the number of bytes it read, once `waiting` requests have been read."""

    def __init__(self, waiting: int = 1) -> None:
        self._barrier = asyncio.Barrier(waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0
        more = True
        while more:
            message = await receive()
            read += len(message.get("body", b""))
            more = message.get("more_body", False)
        await self._barrier.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(read).encode()})


def client(each: int = 1000, together: int = 3000, waiting: int = 1) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=BodyGuard(Echo(waiting), each, together))
    return httpx.AsyncClient(transport=transport, base_url="http://guarded.test")


async def pieces(count: int, size: int, seconds: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(seconds)
        yield bytes(size)


async def test_a_body_arrives_whole() -> None:
    async with client() as asking:
        assert (await asking.post("/", content=pieces(10, 100))).text == "1000"
        assert (await asking.get("/")).text == "0"


async def test_a_body_that_is_too_large_is_a_413() -> None:
    async with client() as asking:
        answer = await asking.post("/", content=pieces(11, 100))
        assert answer.status_code == 413
        assert answer.json()["error"]["type"] == "ContentTooLargeError"


async def test_all_bodies_together_are_bounded() -> None:
    async with client(waiting=3) as asking:
        posts = [asking.post("/", content=pieces(10, 100)) for _ in range(4)]
        statuses = [answer.status_code for answer in await asyncio.gather(*posts)]
        assert sorted(statuses) == [200, 200, 200, 429]
        again = [asking.post("/", content=bytes(1000)) for _ in range(3)]
        assert [answer.status_code for answer in await asyncio.gather(*again)] == [200] * 3


async def test_a_body_that_never_ends_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_UPLOAD_SECONDS", 0.1)
    async with client() as asking:
        answer = await asking.post("/", content=pieces(5, 1, seconds=0.1))
        assert answer.status_code == 408
