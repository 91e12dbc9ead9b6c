"""Shutdown of the server: drained on a signal, immediate when the engine has died.

On SIGTERM or SIGINT the server refuses new requests and `/health/ready` returns 503. Requests in
flight may finish within the drain timeout; then uvicorn stops, and vLLM's engine with it. vLLM's
own drain is not used, because it refuses pass 2 of a request whose pass 1 is running. When the
engine dies, requests in flight are answered with 503 and the process exits with EXIT_ENGINE_DIED.

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
"""EX_SOFTWARE: neither success nor a signal, so that a supervisor can tell the cause."""

exit_status = 0
"""The exit status of the process once the server has stopped."""

_CHECK_SECONDS = 0.1
_ERRORS_SENT_SECONDS = 5.0
"""Time for error responses to reach their clients after their requests were ended."""


_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


class Lifecycle:
    """The shutdown of one server process."""

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
        self._drain_task: asyncio.Task[None] | None = None

    def around(self, inner: _Lifespan) -> _Lifespan:
        """The app's lifespan `inner`, with signal handlers and a watch on the engine.

        Our signal handlers replace vLLM's, which are set before the lifespan starts.
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
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain())
        else:  # a second signal stops the server immediately
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
            await asyncio.sleep(_CHECK_SECONDS)
        logger.error("The engine has died: answering 503 and stopping")
        exit_status = EXIT_ENGINE_DIED
        self._admission.closed = "the engine has died"
        await self._end_all("the engine has died; the server is stopping")
        self._stop_serving()

    async def _end_all(self, reason: str) -> None:
        self._running.end_all(ServiceUnavailable(reason))
        await self._admission.until_idle(_ERRORS_SENT_SECONDS)

    def _stop_serving(self) -> None:
        self._app.state.server.should_exit = True
