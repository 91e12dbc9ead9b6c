"""Pass 2 of one chat as Prometheus and the trace see it: when it began to answer, what it read."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from opentelemetry.trace import StatusCode
from vllm.entrypoints.generate.base.protocol import StreamOptions
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.api.roi import RoiReport
from server.observe import metrics, tracing
from server.observe.metrics import Pass

_PREFIX = "data: "
_Answer = TypeVar("_Answer")


class SecondPass:
    """From its making until `ended`; `report` tells what pass 1 read, if there was one."""

    def __init__(self, report: RoiReport) -> None:
        self._first = report.pass1_usage
        self._started = time.perf_counter()
        self._span = tracing.start_span("pass2")

    async def asked(self, answer: Awaitable[_Answer]) -> _Answer:
        """What vLLM answers; where it raises or the caller hangs up, this pass ends with it."""
        try:
            return await answer
        except BaseException as error:
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR)
            self.ended()
            raise

    def begun(self) -> None:
        """The first chunk, or the whole answer, is here."""
        metrics.PASS2_SECONDS.observe(time.perf_counter() - self._started)

    def read(self, prompt_tokens: int, cached_tokens: int | None) -> None:
        """What the prompt was, and how much of it the prefix cache held (None: not known)."""
        if cached_tokens is None:
            return
        metrics.observe_prompt(Pass.SECOND, prompt_tokens, cached_tokens)
        self._span.set_attribute("sdrpn.prompt_tokens", prompt_tokens)
        self._span.set_attribute("sdrpn.cached_tokens", cached_tokens)
        if self._first and self._first.cached_tokens is not None:
            first_computed = self._first.prompt_tokens - self._first.cached_tokens
            metrics.observe_zoom_cost(first_computed, prompt_tokens - cached_tokens)

    def ended(self) -> None:
        """The answer is complete, or will never be."""
        self._span.end()


def asking_for_usage(request: ChatCompletionRequest) -> dict[str, Any]:
    """What to change in a streamed request so that its stream ends with its usage."""
    wanted = request.stream_options
    asked = wanted is not None and wanted.include_usage
    return {"stream_options": wanted if asked else StreamOptions(include_usage=True)}


async def measured(
    events: AsyncGenerator[str, None], second: SecondPass, hide_usage: bool
) -> AsyncGenerator[str, None]:
    """vLLM's events, with `second` told of the last one's usage; `hide_usage` keeps that event.

    Closing this generator closes `events`.
    """
    async with aclosing(events):
        try:
            async for event in events:
                usage = _last_usage(event)
                if usage:
                    details = usage.get("prompt_tokens_details") or {}
                    second.read(usage["prompt_tokens"], details.get("cached_tokens"))
                if not (usage and hide_usage):
                    yield event
        finally:
            second.ended()


def _last_usage(event: str) -> dict[str, Any] | None:
    """The usage of the event that has nothing else; looked for before anything is parsed."""
    if '"choices":[]' not in event or '"usage":' not in event:
        return None
    usage: dict[str, Any] | None = json.loads(event.removeprefix(_PREFIX)).get("usage")
    return usage
