"""Picture work off the event loop, in two lanes: large pictures never stand in small ones' way.

There are two threads (Pillow releases the interpreter while it decodes and resizes, and more
threads would only take CPU time from the engine). Work on large pictures gets one of them at most,
so a burst of large ones leaves the other to everybody else. Each lane also bounds how many pixels
are held decoded at once: a picture stays at full resolution until its crops are cut, through all of
pass 1. Within a lane it is first come, first served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from server.pictures.files import MAX_PICTURE_PIXELS

_T = TypeVar("_T")

LARGE_PIXELS = 16_000_000
"""From here on a picture is large: beyond what most cameras and phones send."""
HELD_PIXELS = 8 * MAX_PICTURE_PIXELS
"""Pixels one lane holds decoded: 1.2 GB."""


class PictureLanes:
    """The picture threads of one server process."""

    def __init__(self, threads: int = 2, held_pixels: int = HELD_PIXELS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sdrpn-pictures")
        self._small = Lane(self._threads, threads, held_pixels)
        self._large = Lane(self._threads, 1, held_pixels)

    def lane(self, pixels: int) -> Lane:
        """The lane for work on a picture of `pixels`."""
        return self._large if pixels >= LARGE_PIXELS else self._small


class Lane:
    """Work on pictures of one class: `at_once` threads at most, `held_pixels` pixels at most."""

    def __init__(self, threads: ThreadPoolExecutor, at_once: int, held_pixels: int) -> None:
        self._threads = threads
        self._at_once = asyncio.Semaphore(at_once)
        self._room = held_pixels
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def run(self, work: Callable[[], _T]) -> _T:
        """The result of `work()`. A caller that is cancelled leaves work in hand to finish."""
        loop = asyncio.get_running_loop()
        async with self._at_once:
            return await loop.run_in_executor(self._threads, work)

    @asynccontextmanager
    async def holding(self, pixels: int) -> AsyncIterator[None]:
        """Waits for room for `pixels` decoded pixels, and keeps it for as long as the block runs.

        Whoever holds some must not ask for more: two such callers could wait for each other.
        """
        await self._take(pixels)
        try:
            yield
        finally:
            self._give(pixels)

    async def _take(self, pixels: int) -> None:
        if not self._waiting and pixels <= self._room:
            self._room -= pixels
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, turn))
        try:
            await turn
        except asyncio.CancelledError:
            granted = turn.done() and not turn.cancelled()  # together with the cancellation
            self._give(pixels if granted else 0)
            raise

    def _give(self, pixels: int) -> None:
        self._room += pixels
        while self._waiting and (
            self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._room
        ):
            size, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._room -= size
                turn.set_result(None)
