"""A small app behind the guards, called in this process: the guards need no engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from vllm.entrypoints.serve.utils.api_utils import with_cancellation

from server import guard
from server.guard.admission import Admission
from server.guard.bodies import MAX_BODY_BYTES
from server.guard.deadlines import RunningRequests

CHAT = "/v1/chat/completions"


class Guarded:
    """The app, what guards it, and what its handlers saw."""

    def __init__(
        self,
        *,
        keys: tuple[str, ...] = (),
        limit: int = 8,
        seconds: float = 30.0,
        closed: frozenset[str] = frozenset(),
        keyless: frozenset[str] = frozenset(),
    ) -> None:
        self.engine_is_dead = False
        self.finish = asyncio.Event()
        """Set by the test, to let handlers with `wait` in their body answer."""
        self.cancelled = asyncio.Event()
        self._handlers = asyncio.Semaphore(0)
        self.admission = Admission(limit)
        self.running = RunningRequests(seconds, lambda: self.engine_is_dead)
        self.app = self._app()
        guard.install(
            self.app,
            keys=keys,
            keyless=keyless,
            closed=closed,
            admission=self.admission,
            body_bytes=MAX_BODY_BYTES,
            upload_seconds=60.0,
            running=self.running,
        )

    async def running_handlers(self, count: int) -> None:
        """Waits until `count` more handlers have started."""
        for _ in range(count):
            await self._handlers.acquire()

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://guarded.test")

    def _app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        async def chat(body: dict[str, object], raw_request: Request) -> Response:
            self._handlers.release()
            if body.get("fail"):
                return JSONResponse({"error": "vLLM's own"}, status_code=500)
            if body.get("stream"):
                return StreamingResponse(self._events(), media_type="text/event-stream")
            if body.get("wait"):
                await self.finish.wait()
            await self._work(float(str(body.get("seconds", 0))))
            return JSONResponse({"bytes": len(await raw_request.body())})

        for path in (CHAT, "/v1/messages", "/v1/responses"):
            app.add_api_route(path, with_cancellation(chat), methods=["POST"])
        for path in ("/health/live", "/metrics", "/v1/models", "/scale_elastic_ep", "/sleep", "/"):
            app.add_api_route(path, self._here, methods=["GET", "POST"])
        return app

    async def _here(self) -> str:
        return "here"

    async def _work(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _events(self) -> AsyncIterator[str]:
        yield 'data: {"first": 1}\n\n'
        await self._work(60)
        yield "data: [DONE]\n\n"
