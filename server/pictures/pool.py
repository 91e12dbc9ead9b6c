"""The picture threads, in two lanes: large pictures do not delay small ones.

There are two threads. Pillow releases the GIL while it decodes and resizes, and more threads would
only take CPU time from the engine. Work on large pictures gets one of them at most, so that a burst
of large pictures leaves the other to all other requests. Each lane also bounds the decoded pixels
in memory: a picture stays at full resolution until its crops are cut, through all of pass 1. Within
a lane, work is done in the order of arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeVar

from server.pictures.budget import Budget, Hold
from server.pictures.limits import PictureLimits

_T = TypeVar("_T")

LARGE_PIXELS = 16_000_000
"""A picture from this size on is large: most cameras and phones send fewer pixels."""
HELD_PICTURES = 8
"""Decoded pictures of the largest size that one lane holds: 1.2 GB at the default limit."""


class PictureLanes:
    """The picture threads of one server process."""

    def __init__(
        self, threads: int = 2, held_pixels: int = HELD_PICTURES * PictureLimits.pixels
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sdrpn-pictures")
        self._small = Lane(self._threads, threads, held_pixels)
        self._large = Lane(self._threads, 1, held_pixels)

    def lane(self, pixels: int) -> Lane:
        """The lane for work on a picture of `pixels`."""
        return self._large if pixels >= LARGE_PIXELS else self._small


class Lane:
    """Work on pictures of one class, on at most `concurrency` threads."""

    def __init__(self, threads: ThreadPoolExecutor, concurrency: int, held_pixels: int) -> None:
        self._threads = threads
        self._running = asyncio.Semaphore(concurrency)
        self._pixels = Budget(held_pixels)

    async def run(self, work: Callable[[], _T]) -> _T:
        """The result of `work()`, which runs on a picture thread.

        A thread cannot be stopped. So a cancelled caller leaves here only when its work is done:
        until then the thread is in use, and so is the memory that the caller holds for the work.
        """
        async with self._running:
            job = self._threads.submit(work)
            result = asyncio.wrap_future(job)
            try:
                return await asyncio.shield(result)
            except asyncio.CancelledError:
                job.cancel()  # has an effect only before the work starts
                await _until_done(result)
                raise

    def holding(self, pixels: int) -> AbstractAsyncContextManager[Hold]:
        """Waits for memory for `pixels` decoded pixels; see `Budget.holding`."""
        return self._pixels.holding(pixels)


async def _until_done(result: asyncio.Future[_T]) -> None:
    while not result.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([result])
