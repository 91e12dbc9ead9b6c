"""A streamed chat: one generator between vLLM's server-sent events and the caller.

It adds the `roi` object to the first chunk, measures the usage that vLLM sends last and hides it
from callers that did not request it, and starts again where the engine has lost a picture before it
generated anything. Every other chunk passes through unchanged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from vllm.entrypoints.generate.base.protocol import StreamOptions
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.exception_handling.error_response import create_error_response

from server.passes.pass2 import Pass2

logger = logging.getLogger("vllm.sdrpn")

_PREFIX = "data: "
_DONE = "data: [DONE]\n\n"


@dataclass(frozen=True)
class HiddenUsage:
    """What to restore in a stream whose usage we requested and the caller did not.

    vLLM puts its `system_fingerprint` into the last chunk: that of the usage if there is one, else
    those with a finish reason.
    """

    fingerprint: str | None = None


def request_usage(
    request: ChatCompletionRequest, handler: Any
) -> tuple[dict[str, Any], HiddenUsage | None]:
    """What to change in a streamed request so that it ends with its usage, and what to hide then.

    Rests on `should_include_usage` and on two attributes of OpenAIServingChat.
    """
    options = request.stream_options
    if not request.stream or (options and options.include_usage):
        return {}, None
    if getattr(handler, "enable_force_include_usage", False):
        return {}, None
    hidden = HiddenUsage(getattr(handler, "system_fingerprint", None))
    return {"stream_options": StreamOptions(include_usage=True)}, hidden


async def stream_answer(
    events: AsyncGenerator[str, None], pass2: Pass2, hidden: HiddenUsage | None
) -> AsyncGenerator[str, None]:
    """vLLM's `events` as the caller gets them.

    Closing this generator closes `events`, which is how a disconnect reaches the engine.
    """
    try:
        opening = await _opening(events)
        if _is_internal_error(opening):
            await events.aclose()
            second = await _restart(pass2)
            if not isinstance(second, AsyncGenerator):
                yield _event(second.model_dump())
                yield _DONE
                return
            events = second
            opening = await _opening(events)
        pass2.begin_answer()
        if opening:
            opening[0] = _with_roi(opening[0], pass2.report.model_dump(mode="json"))
        for event in opening:
            if visible := _visible(event, pass2, hidden):
                yield visible
        async for event in events:
            if visible := _visible(event, pass2, hidden):
                yield visible
    finally:
        await events.aclose()
        pass2.end()


async def _restart(pass2: Pass2) -> AsyncGenerator[str, None] | ErrorResponse:
    """The stream once more; an error is returned as the answer."""
    try:
        answer: AsyncGenerator[str, None] | ErrorResponse = await pass2.repeat()
    except Exception as error:
        logger.exception("The second try of a stream failed")
        return create_error_response(error)
    return answer


def _visible(event: str, pass2: Pass2, hidden: HiddenUsage | None) -> str | None:
    """The event as the caller gets it, or None; `pass2` records its usage."""
    usage = _last_usage(event)
    if usage:
        details = usage.get("prompt_tokens_details") or {}
        pass2.note_usage(usage["prompt_tokens"], details.get("cached_tokens"))
    if hidden is None:
        return event
    return None if usage else _with_fingerprint(event, hidden.fingerprint)


async def _opening(events: AsyncGenerator[str, None]) -> list[str]:
    """The events up to the first with content.

    vLLM makes the chunks that only name the role from the engine's first output, like the chunk
    after them, so waiting for that one adds no delay.
    """
    opening: list[str] = []
    async for event in events:
        opening.append(event)
        if not _names_only_the_role(_payload(event)):
            break
    return opening


def _payload(event: str) -> dict[str, Any]:
    text = event.removeprefix(_PREFIX)
    payload: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
    return payload


def _event(payload: dict[str, Any]) -> str:
    return f"{_PREFIX}{json.dumps(payload)}\n\n"


def _names_only_the_role(payload: dict[str, Any]) -> bool:
    deltas = [choice.get("delta", {}) for choice in payload.get("choices", ())]
    return bool(deltas) and all("role" in delta and not delta.get("content") for delta in deltas)


def _is_internal_error(opening: list[str]) -> bool:
    error = _payload(opening[-1]).get("error") if opening else None
    return bool(error and error.get("code") == HTTPStatus.INTERNAL_SERVER_ERROR)


def _with_roi(event: str, roi: dict[str, Any]) -> str:
    chunk = _payload(event)
    # An error or [DONE] is no chunk: the stream failed before its first one.
    return _event({**chunk, "roi": roi}) if "choices" in chunk else event


def _with_fingerprint(event: str, fingerprint: str | None) -> str:
    if fingerprint is None or '"finish_reason":"' not in event:
        return event
    return _event({**_payload(event), "system_fingerprint": fingerprint})


def _last_usage(event: str) -> dict[str, Any] | None:
    """The usage of an event that has nothing else. Most events are not parsed for it."""
    if '"choices":[]' not in event or '"usage":' not in event:
        return None
    usage: dict[str, Any] | None = _payload(event).get("usage")
    return usage
