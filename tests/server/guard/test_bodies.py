from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from server.guard.bodies import BodyGuard
from tests.server.guard.apps import CHAT, Guarded


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


def client(
    each: int = 1000,
    together: int = 3000,
    waiting: int = 1,
    upload_seconds: float = 60.0,
) -> httpx.AsyncClient:
    guarded = BodyGuard(Echo(waiting), each, upload_seconds, together)
    transport = httpx.ASGITransport(app=guarded)
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


async def test_a_body_that_never_ends_is_a_408() -> None:
    async with client(upload_seconds=0.1) as asking:
        answer = await asking.post("/", content=pieces(5, 1, seconds=0.1))
        assert answer.status_code == 408


def zipped(size: int, encoding: str) -> bytes:
    return zlib.compress(bytes(size)) if encoding == "deflate" else gzip.compress(bytes(size))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
async def test_a_compressed_body_arrives_unpacked(encoding: str) -> None:
    async with client() as asking:
        headers = {"Content-Encoding": encoding}
        answer = await asking.post("/", content=zipped(1000, encoding), headers=headers)
        assert answer.text == "1000"
        joined = zipped(400, encoding) + zipped(500, encoding)
        assert (await asking.post("/", content=joined, headers=headers)).text == "900"

        async def bytewise() -> AsyncIterator[bytes]:
            for byte in zipped(1000, encoding):
                yield bytes([byte])

        assert (await asking.post("/", content=bytewise(), headers=headers)).text == "1000"


async def test_limits_count_unpacked_bytes() -> None:
    bomb = zipped(100 * 2**20, "gzip")
    assert len(bomb) < 2**20
    async with client(each=2**20, together=3 * 2**20) as asking:
        headers = {"Content-Encoding": "gzip"}
        answer = await asking.post("/", content=bomb, headers=headers)
        assert answer.status_code == 413
        assert (await asking.post("/", content=bytes(2**20))).status_code == 200, "all released"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_other_encodings_are_a_415_with_the_reason(encoding: str) -> None:
    async with client() as asking:
        answer = await asking.post("/", content=b"x", headers={"Content-Encoding": encoding})
        assert answer.status_code == 415
        assert encoding in answer.json()["error"]["message"]
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("body", "reason"), [(b"{}", "is not gzip"), (zipped(1000, "gzip")[:-9], "ends within")]
)
async def test_a_broken_compressed_body_is_a_400(body: bytes, reason: str) -> None:
    async with client() as asking:
        answer = await asking.post("/", content=body, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400
        assert reason in answer.json()["error"]["message"]


async def test_a_handler_reads_a_compressed_body_as_json() -> None:
    """Nothing of the encoding is left in the headers, by which handlers and vLLM read bodies."""
    guarded = Guarded()
    body = json.dumps({"seconds": 0}).encode()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with guarded.client() as asking:
        answer = await asking.post(CHAT, content=gzip.compress(body), headers=headers)
    assert answer.json() == {"bytes": len(body)}
