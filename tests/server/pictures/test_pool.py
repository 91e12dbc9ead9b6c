from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from server.pictures.pool import LARGE_PIXELS, PictureLanes


async def settle() -> None:
    """Lets every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_work_is_done_off_the_event_loop() -> None:
    lane = PictureLanes().lane(0)
    assert await lane.run(threading.current_thread) is not threading.main_thread()


async def test_an_exception_reaches_the_caller() -> None:
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await PictureLanes().lane(0).run(fail)


async def test_a_burst_of_large_pictures_leaves_a_thread_to_small_ones() -> None:
    lanes = PictureLanes(threads=2)
    blocked = threading.Event()
    large = [asyncio.create_task(lanes.lane(LARGE_PIXELS).run(blocked.wait)) for _ in range(8)]
    await settle()
    for _ in range(5):
        small = lanes.lane(LARGE_PIXELS - 1).run(lambda: "done")
        assert await asyncio.wait_for(small, 10) == "done"
    assert not any(task.done() for task in large)
    blocked.set()
    await asyncio.gather(*large)


async def test_pixels_held_are_bounded_in_each_lane() -> None:
    lanes = PictureLanes(held_pixels=2 * LARGE_PIXELS)
    large, small = lanes.lane(LARGE_PIXELS), lanes.lane(1)
    third = asyncio.Event()

    async def hold_a_third() -> None:
        async with large.holding(LARGE_PIXELS):
            third.set()

    async with large.holding(LARGE_PIXELS):
        async with large.holding(LARGE_PIXELS):
            waiting = asyncio.create_task(hold_a_third())
            await settle()
            assert not third.is_set()
            async with small.holding(1):
                pass  # the other lane has room of its own
        await asyncio.wait_for(third.wait(), 10)
    await waiting


async def test_whoever_came_first_is_let_in_first() -> None:
    lane = PictureLanes(held_pixels=10).lane(1)
    entered: list[int] = []

    async def hold(pixels: int) -> None:
        async with lane.holding(pixels):
            entered.append(pixels)

    async with AsyncExitStack() as holding:
        await holding.enter_async_context(lane.holding(10))
        waiting = [asyncio.create_task(hold(pixels)) for pixels in (9, 8, 1)]
        await settle()
    await asyncio.gather(*waiting)
    assert entered == [9, 8, 1]


async def test_a_caller_that_gives_up_waiting_holds_nothing_up() -> None:
    lane = PictureLanes(held_pixels=10).lane(1)

    async def hold(pixels: int) -> None:
        async with lane.holding(pixels):
            pass

    async with lane.holding(5):
        impatient = asyncio.create_task(hold(10))
        await settle()
        behind = asyncio.create_task(hold(5))
        await settle()
        assert not behind.done(), "first come, first served"
        impatient.cancel()
        await asyncio.wait_for(behind, 10)
    await asyncio.wait_for(hold(10), 10)


async def test_a_cancelled_caller_keeps_thread_and_memory_until_its_work_is_done() -> None:
    lane = PictureLanes(threads=1, held_pixels=10).lane(1)
    working, finish = threading.Event(), threading.Event()

    def work() -> None:
        working.set()
        finish.wait()

    async def decode() -> None:
        async with lane.holding(10):
            await lane.run(work)

    async def hold() -> None:
        async with lane.holding(10):
            pass

    cancelled = asyncio.create_task(decode())
    await asyncio.to_thread(working.wait)
    for _ in range(2):  # a second cancellation does not free them either
        cancelled.cancel()
        await settle()
    memory, thread = asyncio.create_task(hold()), asyncio.create_task(lane.run(lambda: "done"))
    await settle()
    assert not cancelled.done()
    assert not memory.done()
    assert not thread.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await asyncio.wait_for(thread, 10) == "done"
    await asyncio.wait_for(memory, 10)


async def test_work_that_has_not_begun_is_dropped_with_its_caller() -> None:
    lanes = PictureLanes(threads=1)
    working, finish, begun = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        working.set()
        finish.wait()

    first = asyncio.create_task(lanes.lane(LARGE_PIXELS).run(work))
    await asyncio.to_thread(working.wait)
    second = asyncio.create_task(lanes.lane(0).run(begun.set))
    await settle()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(second, 10)
    finish.set()
    await first
    assert not begun.is_set()
