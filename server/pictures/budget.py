"""A bound on bytes or pixels that many requests hold at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """`size` units, lent in the order of the requests for them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def holding(self, amount: int) -> AsyncIterator[Hold]:
        """Waits until `amount` units are free, and holds them while the block runs.

        More than the whole budget counts as the whole. A caller that holds some must not ask for
        more: two such callers could wait for each other.
        """
        hold = Hold(self, min(amount, self._size))
        await self._take(hold.amount)
        try:
            yield hold
        finally:
            hold.shrink(0)

    async def _take(self, amount: int) -> None:
        if not self._queue and amount <= self._free:
            self._free -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            granted = turn.done() and not turn.cancelled()  # together with the cancellation
            self.release(amount if granted else 0)
            raise

    def release(self, amount: int) -> None:
        """Gives `amount` units back and lends to those that wait."""
        self._free += amount
        while self._queue and (self._queue[0][1].cancelled() or self._queue[0][0] <= self._free):
            lent, turn = self._queue.popleft()
            if not turn.cancelled():
                self._free -= lent
                turn.set_result(None)


class Hold:
    """Units of a budget that are held."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self._budget = budget
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Holds only `amount` from now on, and gives the rest back."""
        self._budget.release(self.amount - amount)
        self.amount = amount
