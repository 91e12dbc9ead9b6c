"""From a picture's URL to its bytes, by the URL's scheme, within the limits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from server.api.errors import FetchRefused
from server.observe import metrics
from server.pictures.budget import Budget
from server.pictures.data_urls import read_data_url
from server.pictures.fetch import Fetcher
from server.pictures.limits import PictureLimits
from server.pictures.media_folder import read_file

ReadBytes = Callable[[], bytes]
"""Takes time, but does not use the network: to be called on a picture thread."""

HELD_BYTES = 2**30
"""Bytes of fetched pictures and files in memory that are not decoded yet.

Those of `data:` URLs are bounded with the requests' bodies.
"""


class PictureSources:
    """Where a server reads pictures from; `folder` None: no files."""

    def __init__(
        self,
        fetcher: Fetcher,
        folder: Path | None = None,
        limits: PictureLimits | None = None,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self.limits = limits or PictureLimits()
        self._fetcher = fetcher
        self._folder = folder
        self._bytes = Budget(held_bytes)

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[ReadBytes]:
        """How to read the picture at `url`, which is fetched by then if it has to be.

        Memory for its bytes is held while the block runs: leave it when the picture is decoded.
        Raises BadPicture for a URL that is not taken, FetchFailed, PictureTooLarge; so does
        reading.
        """
        scheme = url.partition(":")[0].strip().lower()
        if scheme == "data":
            yield partial(read_data_url, url, self.limits)
        elif scheme in ("http", "https"):
            async with self._bytes.holding(self.limits.bytes) as held:
                data = await self._fetch(url)
                held.shrink(len(data))
                yield lambda: data
        elif scheme == "file" and self._folder is not None:
            async with self._bytes.holding(self.limits.bytes):
                yield partial(read_file, url, self._folder, self.limits)
        else:
            raise FetchRefused(
                f"pictures are not taken from {scheme[:16]!r} URLs; send a data: URL"
            )

    async def close(self) -> None:
        """Closes the open connections."""
        await self._fetcher.close()

    async def _fetch(self, url: str) -> bytes:
        started = time.perf_counter()
        data = await self._fetcher.fetch(url)
        metrics.FETCH_SECONDS.observe(time.perf_counter() - started)
        return data
