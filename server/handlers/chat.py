"""The chat route: the two passes around vLLM's chat handler (`OpenAIServingChat`).

A chat with pictures is parsed, zoomed (`passes/zoom.py`: base views, pass 1, regions, crops) and
given to vLLM with its views (`passes/pass2.py`). A chat without pictures goes to vLLM unchanged.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
)
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from server.api.errors import RequestError
from server.api.outcomes import Outcome
from server.api.roi_report import RoiReport
from server.handlers.wrapper import HandlerWrapper
from server.observe import metrics
from server.passes.parsed_chat import ParsedChat, parse_chat
from server.passes.pass1 import Pass1Refused
from server.passes.pass2 import Pass2
from server.passes.streams import HiddenUsage, request_usage, stream_answer
from server.passes.zoom import Zoom, ZoomedChat, without_picture

ChatAnswer: TypeAlias = AsyncGenerator[str, None] | ChatCompletionResponse | ErrorResponse


class TwoPassChat(HandlerWrapper):
    """Stands in for vLLM's chat handler: the same calls and answers, from two passes."""

    def __init__(self, handler: Any, zoom: Zoom) -> None:
        super().__init__(handler)
        self.zoom = zoom

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """vLLM's answer to the chat, with a `roi` object if the chat has a picture.

        Raises RequestError for bad input.
        """
        chat = _parse(request)
        if not chat.pictures and not chat.roi_without_picture:
            return await self._answer_text(request, chat, raw_request)
        try:
            zoomed = await self._zoomed(chat, raw_request)
        except Pass1Refused as refusal:
            return refusal.response
        usage, hidden_usage = request_usage(request, self._handler)
        pass2 = Pass2(zoomed.report, zoomed.outcome)
        answer = await pass2.run(
            self._handler.create_chat_completion,
            request.model_copy(update={"messages": zoomed.messages, **usage}),
            request.model_copy(update={"messages": zoomed.base_messages, **usage}),
            raw_request,
        )
        return _with_report(answer, pass2, hidden_usage)

    async def _zoomed(self, chat: ParsedChat, raw_request: Request | None) -> ZoomedChat:
        if not chat.pictures:
            return without_picture(chat, raw_request)
        return await self.zoom.run(chat, self._handler, raw_request)

    async def _answer_text(
        self, request: ChatCompletionRequest, chat: ParsedChat, raw_request: Request | None
    ) -> ChatAnswer:
        metrics.count(Outcome.TEXT_ONLY)
        answer: ChatAnswer = await self._handler.create_chat_completion(
            request.model_copy(update={"messages": chat.messages}), raw_request
        )
        return answer

    async def pass2_request(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatCompletionRequest:
        """The request that pass 2 would answer, to count its tokens.

        Raises RequestError, Pass1Refused.
        """
        chat = _parse(request)
        zoomed = await self.zoom.run(chat, self._handler, raw_request) if chat.pictures else chat
        return request.model_copy(update={"messages": zoomed.messages})

    async def regions(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> RoiReport | ErrorResponse:
        """The report that this chat would be answered with. Raises RequestError."""
        chat = _parse(request)
        if not chat.pictures:
            raise RequestError("there is no picture in the chat to find regions in", "messages")
        try:
            zoomed = await self.zoom.run(chat, self._handler, raw_request)
        except Pass1Refused as refusal:
            return refusal.response
        metrics.count(zoomed.outcome)
        return zoomed.report


def _parse(request: ChatCompletionRequest) -> ParsedChat:
    roi = (request.model_extra or {}).get("roi")
    chat = parse_chat(request, request.messages, roi, request.kv_transfer_params)
    if chat.pictures and request.truncate_prompt_tokens is not None:
        message = "a prompt with pictures cannot be truncated"
        raise RequestError(message, "truncate_prompt_tokens")
    return chat


def _with_report(answer: ChatAnswer, pass2: Pass2, hidden_usage: HiddenUsage | None) -> ChatAnswer:
    """`answer` with its `roi` object; `pass2` is measured."""
    if isinstance(answer, AsyncGenerator):
        return stream_answer(answer, pass2, hidden_usage)
    if isinstance(answer, ChatCompletionResponse):
        pass2.begin_answer()
        details = answer.usage.prompt_tokens_details
        pass2.note_usage(answer.usage.prompt_tokens, details.cached_tokens if details else None)
        answer.roi = pass2.report.model_dump(mode="json")
    pass2.end()
    return answer
