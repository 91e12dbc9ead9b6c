"""How the server ends: on a signal, after what it is doing; or because its engine died.

On SIGTERM or SIGINT no new request is taken and `/health/ready` turns 503; what is in flight may
finish within the drain timeout; then uvicorn stops, and with it vLLM's engine. vLLM's own way to
drain would refuse the second pass of a request whose first one is running. A dead engine ends the
process with EXIT_ENGINE_DIED, after everybody was told.

Rests on `app.state.server` (vLLM's uvicorn server) and on vLLM's `EngineClient.errored`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from server.api.errors import ServiceUnavailable
from server.guard.admission import Admission
from server.guard.deadlines import RunningRequests

logger = logging.getLogger("vllm.sdrpn")

EXIT_ENGINE_DIED = 70
"""EX_SOFTWARE: neither success nor a signal, so that whoever restarts us can tell."""

exit_status = 0
"""What the process should exit with once the server has ended."""

_LOOKS_EVERY = 0.1
_LAST_WORDS_WITHIN = 5.0
"""Seconds for errors to reach their clients after requests were ended."""


_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


class Lifecycle:
    """One server process, from serving to its end."""

    def __init__(
        self,
        app: FastAPI,
        admission: Admission,
        running: RunningRequests,
        drain: float,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """`close` is awaited when serving has ended."""
        self._app = app
        self._admission = admission
        self._running = running
        self._drain_seconds = drain
        self._close = close
        self._ending: asyncio.Task[None] | None = None

    def around(self, inner: _Lifespan) -> _Lifespan:
        """The app's lifespan `inner` with a watch on signals and on the engine inside it.

        vLLM has set its own signal handlers by then, which ours replace.
        """

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with inner(app) as state:
                loop = asyncio.get_running_loop()
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._on_signal)
                watch = asyncio.create_task(self._watch_engine())
                try:
                    yield state
                finally:
                    watch.cancel()
                    await self._close()

        return lifespan

    def _on_signal(self) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._drain())
        else:  # asked twice: at once
            self._app.state.server.force_exit = True
            self._stop_serving()

    async def _drain(self) -> None:
        self._admission.closed = "the server is shutting down"
        logger.info(
            "Shutting down: %d requests in flight may take up to %g s; a second signal ends them",
            self._admission.inflight,
            self._drain_seconds,
        )
        if not await self._admission.until_idle(self._drain_seconds):
            await self._end_all("the server shut down before the request was finished")
        self._stop_serving()

    async def _watch_engine(self) -> None:
        global exit_status
        while not self._app.state.engine_client.errored:
            await asyncio.sleep(_LOOKS_EVERY)
        logger.error("The engine has died: answering 503 and stopping")
        exit_status = EXIT_ENGINE_DIED
        self._admission.closed = "the engine has died"
        await self._end_all("the engine has died; the server is stopping")
        self._stop_serving()

    async def _end_all(self, reason: str) -> None:
        self._running.end_all(ServiceUnavailable(reason))
        await self._admission.until_idle(_LAST_WORDS_WITHIN)

    def _stop_serving(self) -> None:
        self._app.state.server.should_exit = True
