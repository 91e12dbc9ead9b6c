"""The Responses route: the two passes around vLLM's handler (`OpenAIServingResponses`).

Pass 1 is a chat with the messages that vLLM makes of the request's items, earlier turns included.
Pass 2 is the request itself with views in place of its pictures; it is never truncated, because the
model cannot read a part of a view.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import (
    ResponsesRequest,
    ResponsesResponse,
    ResponseUsage,
)
from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts

from server.api.errors import RequestError
from server.api.outcomes import Outcome
from server.api.roi_report import NO_PICTURE
from server.handlers.wrapper import HandlerWrapper
from server.observe import metrics
from server.observe.report_header import note_report
from server.passes.parsed_chat import ParsedChat, parse_chat
from server.passes.pass1 import Pass1Refused
from server.passes.pass2 import Pass2
from server.passes.zoom import Zoom

_BEFORE_THE_ENGINE = ("response.created", "response.in_progress")
"""The events with which vLLM opens a stream before the engine has generated anything."""


class TwoPassResponses(HandlerWrapper):
    """Stands in for vLLM's Responses handler; `chat_handler` is its chat handler, for pass 1."""

    def __init__(self, handler: Any, chat_handler: Any, zoom: Zoom) -> None:
        super().__init__(handler)
        self._chat_handler = chat_handler
        self._zoom = zoom

    async def create_responses(
        self, request: ResponsesRequest, raw_request: Request | None = None
    ) -> Any:
        """vLLM's answer to the request. Raises RequestError for bad input."""
        chat = await self._parse(request)
        if not chat.pictures:
            metrics.count(Outcome.TEXT_ONLY)
            if chat.roi_without_picture:
                note_report(raw_request, NO_PICTURE)
            return await self._handler.create_responses(request, raw_request)
        try:
            zoomed = await self._zoom.run(chat, self._chat_handler, raw_request)
        except Pass1Refused as refusal:
            return refusal.response
        except RequestError as error:
            raise _in_terms_of_items(error) from None
        pass2 = Pass2(zoomed.report, zoomed.outcome)
        answer = await pass2.run(
            self._handler.create_responses,
            _with_views(request, zoomed.messages),
            _with_views(request, zoomed.base_messages),
            raw_request,
        )
        return _with_report(answer, pass2)

    async def _parse(self, request: ResponsesRequest) -> ParsedChat:
        items = request.input if isinstance(request.input, list) else []
        roi = (request.model_extra or {}).get("roi")
        earlier = request.previous_response_id
        async with self._handler.response_store_lock:
            response = self._handler.response_store.get(earlier) if earlier else None
        to_chat = partial(
            _to_chat,
            request.instructions,
            self._handler.msg_store.get(earlier) if response else None,
            response.output if response else None,
        )
        try:
            return parse_chat(_as_chat(request), items, roi, request.kv_transfer_params, to_chat)
        except RequestError as error:
            raise _in_terms_of_items(error) from None


def _in_terms_of_items(error: RequestError) -> RequestError:
    """`error` in the words of the Responses API, which has no `messages`."""
    error.args = (str(error).replace("image_url part", "input_image part"),)
    if error.param == "messages":
        error.param = "input"
    return error


def _with_views(request: ResponsesRequest, items: list[Any]) -> ResponsesRequest:
    return request.model_copy(update={"input": items, "truncation": "disabled"})


def _to_chat(
    instructions: str | None, earlier_messages: Any, earlier_output: Any, items: list[Any]
) -> list[Any]:
    """The chat that vLLM makes of `items` and of the turns before them."""
    messages: list[Any] = construct_input_messages(
        request_instructions=instructions,
        request_input=items,
        prev_msg=earlier_messages,
        prev_response_output=earlier_output,
    )
    return messages


def _with_report(answer: Any, pass2: Pass2) -> Any:
    if isinstance(answer, AsyncGenerator):
        return _stream(answer, pass2)
    if isinstance(answer, ResponsesResponse):
        if answer.usage:  # absent if the caller fetches the answer later
            pass2.begin_answer()
            _note_usage(answer.usage, pass2)
        answer.roi = pass2.report.model_dump(mode="json")
    pass2.end()
    return answer


async def _stream(events: AsyncGenerator[Any, None], pass2: Pass2) -> AsyncGenerator[Any, None]:
    """vLLM's events, measured. Closing this generator closes `events`."""
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                if not begun and event.type not in _BEFORE_THE_ENGINE:
                    pass2.begin_answer()
                    begun = True
                if event.type == "response.completed" and event.response.usage:
                    _note_usage(event.response.usage, pass2)
                yield event
        finally:
            pass2.end()


def _note_usage(usage: ResponseUsage, pass2: Pass2) -> None:
    pass2.note_usage(usage.input_tokens, usage.input_tokens_details.cached_tokens)


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
