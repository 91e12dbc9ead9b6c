from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from server.api.errors import FetchFailed
from server.pictures.fetch import Fetcher
from server.pictures.limits import PictureLimits
from server.pictures.sources import PictureSources
from server.pictures.url_policy import MediaPolicy
from tests.server.helpers import data_url
from tests.server.pictures.test_pool import settle

URL = "http://pictures.test/a.png"
LIMITS = PictureLimits(bytes=100)


class Host(Fetcher):
    """Answers every fetch with `data`, and counts how many begin."""

    def __init__(self, data: bytes | None) -> None:
        super().__init__(MediaPolicy())
        self.data = data
        self.fetches = 0
        self.closed = False

    async def fetch(self, url: str) -> bytes:
        self.fetches += 1
        if self.data is None:
            raise FetchFailed("no answer")
        return self.data

    async def close(self) -> None:
        self.closed = True


def sources(host: Host, folder: Path | None = None) -> PictureSources:
    return PictureSources(host, folder, LIMITS, held_bytes=200)


async def test_fetched_bytes_are_bounded_until_they_are_decoded() -> None:
    host = Host(bytes(60))
    read_from = sources(host)
    async with AsyncExitStack() as waiting:
        for _ in range(2):
            await waiting.enter_async_context(read_from.open(URL))
        third = asyncio.create_task(waiting.enter_async_context(read_from.open(URL)))
        await settle()
        assert host.fetches == 2, "120 of 200 bytes are held, a picture may have 100"
        async with read_from.open(data_url(b"abc")) as read:
            assert read() == b"abc"  # counted with the requests' bodies
    await asyncio.wait_for(third, 10)
    assert host.fetches == 3


async def test_files_are_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    read_from = sources(Host(b""), tmp_path)
    url = f"file://{tmp_path}/a.png"
    async with read_from.open(url) as read, read_from.open(url):
        third = asyncio.create_task(read_from.open(url).__aenter__())
        await settle()
        assert not third.done()
        assert read() == b"abc"
    await asyncio.wait_for(third, 10)


async def test_a_failed_fetch_holds_nothing() -> None:
    read_from = sources(Host(None))
    for _ in range(5):
        with pytest.raises(FetchFailed):
            async with read_from.open(URL):
                pass


async def test_blanks_before_a_url_do_not_matter() -> None:
    async with sources(Host(b"")).open(f" {data_url(b'abc')}") as read:
        assert read() == b"abc"


async def test_closing_closes_the_fetcher() -> None:
    host = Host(b"")
    await sources(host).close()
    assert host.closed
