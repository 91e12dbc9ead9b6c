"""A chat whose picture vLLM's engine no longer has is sent again, once.

vLLM keeps processed pictures on both sides of the engine and sends only hashes of those it believes
are there. The two sides drift apart (a chat refused after its pictures were processed is enough),
and the next chat about such a picture fails with an internal error. By then the engine has told the
API process to forget its belief, so that "the client resends with data" (`EngineCore.
_handle_mm_cache_miss`). Callers should not have to know; so we are that client.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from vllm.exceptions import GenerationError

Create = Callable[..., Awaitable[Any]]
"""A handler's method: from a request and the raw request to an answer, or a stream of events."""

_PREFIX = "data: "


def resending(create: Create) -> Create:
    """`create`, asked a second time where its first answer is vLLM's internal error."""

    async def create_again_if_lost(request: Any, raw_request: Any = None) -> Any:
        async def create_once() -> Any:
            return await create(request.model_copy(), raw_request)

        try:
            answer = await create_once()
        except GenerationError:
            return await create_once()
        return _unbroken(answer, create_once) if isinstance(answer, AsyncGenerator) else answer

    return create_again_if_lost


async def _unbroken(
    events: AsyncGenerator[Any, None], create_once: Callable[[], Awaitable[Any]]
) -> AsyncGenerator[Any, None]:
    """A chat's `events`, or those of another try if an error comes before anything is said.

    Chunks that only name the role, with which vLLM opens a stream, wait for the one after them:
    all are made from the engine's first output.
    """
    opening: list[Any] = []
    lost = False
    async with aclosing(events):
        async for event in events:
            payload = _payload(event)
            if _only_names_the_role(payload):
                opening.append(event)
                continue
            lost = _is_internal_error(payload)
            if not lost:
                opening.append(event)
            break
        if not lost:
            for event in opening:
                yield event
            async for event in events:
                yield event
            return
    again = await create_once()
    async with aclosing(again):
        async for event in again:
            yield event


def _payload(event: Any) -> dict[str, Any]:
    text = event.removeprefix(_PREFIX) if isinstance(event, str) else ""
    payload: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    return payload


def _only_names_the_role(payload: dict[str, Any]) -> bool:
    deltas = [choice.get("delta", {}) for choice in payload.get("choices", ())]
    return bool(deltas) and all("role" in delta and not delta.get("content") for delta in deltas)


def _is_internal_error(payload: dict[str, Any]) -> bool:
    return bool(payload.get("error", {}).get("code") == HTTPStatus.INTERNAL_SERVER_ERROR)
