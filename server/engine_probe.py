"""Whether the engine still answers: for the liveness probe.

A dead engine ends the process (`lifecycle.py`). A hung one answers nothing, and without traffic no
rate shows it; Kubernetes restarts the pod when the liveness probe fails.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

SILENCE_LIMIT = 600.0
"""Seconds without an answer, while requests wait, after which the engine counts as hung. The engine
answers between two steps, and compiling or a long prefill on a CPU may take minutes.
"""


class EngineProbe:
    """Checks the engine in the background; `hung` never waits.

    `engine` is vLLM's EngineClient, whose `is_sleeping` goes through the engine's own loop.
    """

    def __init__(self, engine: Any, silence_limit: float = SILENCE_LIMIT) -> None:
        self._engine = engine
        self._limit = silence_limit
        self._check: asyncio.Task[Any] | None = None
        self._check_started = 0.0

    def hung(self, waiting_requests: int) -> bool:
        """Whether the engine has been silent for too long while requests wait for it."""
        if self._check is None or self._check.done():
            if self._check is not None and not self._check.cancelled():
                self._check.exception()  # a dead engine is the lifecycle's business
            self._check = asyncio.ensure_future(self._engine.is_sleeping())
            self._check_started = time.monotonic()
            return False
        return waiting_requests > 0 and time.monotonic() - self._check_started > self._limit
