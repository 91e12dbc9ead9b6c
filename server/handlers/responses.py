"""The Responses API (`OpenAIServingResponses`), with the two passes in front of it.

Pass 1 is a chat with the messages that vLLM makes of the request's items, earlier turns included;
pass 2 is the request itself with views in the place of its pictures (and never truncated: half of a
picture is none).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest, ResponsesResponse
from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts

from server import metrics
from server.first_pass import FirstLook, Refused, first_look
from server.handlers.asked import Asked, note_report, read
from server.look import Looked, Looker
from server.metrics import Outcome
from server.second_pass import SecondPass


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
        answer = await self._handler.create_responses(
            request.model_copy(update={"input": looked.messages, "truncation": "disabled"}),
            raw_request,
        )
        if isinstance(answer, AsyncGenerator):
            second.ended()
            return answer
        second.begun()
        if isinstance(answer, ResponsesResponse):
            if answer.usage:
                cached = answer.usage.input_tokens_details.cached_tokens
                second.read(answer.usage.input_tokens, cached)
            answer.roi = looked.report.model_dump(mode="json")
        second.ended()
        return answer

    async def _look(
        self, request: ResponsesRequest, asked: Asked, raw_request: Request | None
    ) -> Looked:
        async def pass_1(items: list[Any], image: int) -> FirstLook:
            messages = await self._messages(request, items)
            return await first_look(self._chat, _as_chat(request), messages, image, raw_request)

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
