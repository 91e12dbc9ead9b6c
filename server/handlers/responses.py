"""The Responses API (`OpenAIServingResponses`), with the two passes in front of it.

Pass 1 is a chat with the messages that vLLM makes of the request's items, earlier turns included;
pass 2 is the request itself with views in the place of its pictures (and never truncated: half of a
picture is none).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import (
    ResponsesRequest,
    ResponsesResponse,
    ResponseUsage,
)
from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts

from server.api.outcomes import Outcome
from server.handlers.parsing import Asked, note_report, read
from server.observe import metrics
from server.passes.pass1 import FirstLook, Refused, Wanted, first_look
from server.passes.pass2 import SecondPass
from server.passes.zoom import Looked, Looker

_BEFORE_THE_ENGINE = ("response.created", "response.in_progress")
"""The events with which vLLM opens a stream before the engine has been heard."""


class TwoPassResponses:
    """Stands in for vLLM's Responses handler; `chat` is its chat handler, which runs pass 1."""

    def __init__(self, handler: Any, chat: Any, looker: Looker) -> None:
        self._handler = handler
        self._chat = chat
        self._looker = looker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def create_responses(
        self, request: ResponsesRequest, raw_request: Request | None = None
    ) -> Any:
        """vLLM's answer to the request. Raises RequestError for bad input."""
        items = request.input if isinstance(request.input, list) else []
        asked = read(items, (request.model_extra or {}).get("roi"), request.kv_transfer_params)
        if not asked.pictures:
            metrics.count(Outcome.TEXT_ONLY)
            return await self._handler.create_responses(request, raw_request)
        try:
            looked = await self._look(request, asked, raw_request)
        except Refused as refusal:
            return refusal.response
        second = SecondPass(looked.report)
        answer = await second.asked(
            self._handler.create_responses(
                request.model_copy(update={"input": looked.messages, "truncation": "disabled"}),
                raw_request,
            )
        )
        if isinstance(answer, AsyncGenerator):
            return _measured(answer, second)
        if isinstance(answer, ResponsesResponse):
            if answer.usage:  # there is none yet where the caller fetches the answer later
                second.begun()
                _tell_usage(answer.usage, second)
            answer.roi = looked.report.model_dump(mode="json")
        second.ended()
        return answer

    async def _look(
        self, request: ResponsesRequest, asked: Asked, raw_request: Request | None
    ) -> Looked:
        async def pass_1(items: list[Any], wanted: Wanted) -> FirstLook:
            messages = await self._messages(request, items)
            return await first_look(self._chat, _as_chat(request), messages, wanted, raw_request)

        looked = await self._looker.look(asked.messages, asked.pictures, asked.options, pass_1)
        note_report(raw_request, looked.report)
        return looked

    async def _messages(self, request: ResponsesRequest, items: list[Any]) -> list[Any]:
        """The chat that vLLM makes of `items` and of the turns before them."""
        earlier = request.previous_response_id
        async with self._handler.response_store_lock:
            response = self._handler.response_store.get(earlier) if earlier else None
        messages: list[Any] = construct_input_messages(
            request_instructions=request.instructions,
            request_input=items,
            prev_msg=self._handler.msg_store.get(earlier) if response else None,
            prev_response_output=response.output if response else None,
        )
        return messages


async def _measured(
    events: AsyncGenerator[Any, None], second: SecondPass
) -> AsyncGenerator[Any, None]:
    """vLLM's events, with `second` told of them. Closing this generator closes `events`."""
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                if not begun and event.type not in _BEFORE_THE_ENGINE:
                    second.begun()
                    begun = True
                if event.type == "response.completed" and event.response.usage:
                    _tell_usage(event.response.usage, second)
                yield event
        finally:
            second.ended()


def _tell_usage(usage: ResponseUsage, second: SecondPass) -> None:
    second.read(usage.input_tokens, usage.input_tokens_details.cached_tokens)


def _as_chat(request: ResponsesRequest) -> ChatCompletionRequest:
    """The fields of `request` that shape a chat's prompt, its cache and its turn."""
    tools = construct_tool_dicts(request.tools, request.tool_choice)
    return ChatCompletionRequest(
        model=request.model,
        messages=[],
        tools=tools,
        tool_choice="none" if tools else None,
        chat_template_kwargs=request.chat_template_kwargs,
        cache_salt=request.cache_salt,
        priority=request.priority,
    )
