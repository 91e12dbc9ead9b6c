"""The two passes of a chat, around vLLM's chat handler (`OpenAIServingChat`).

A chat with a picture is looked at first (`look.py`: base views, pass 1, regions, crops); then vLLM
gets the same chat with its views in it, and does everything else. A chat without pictures is vLLM's
alone.
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
from server.api.roi import RoiReport
from server.handlers.parsing import Asked, note_report, read
from server.observe import metrics
from server.passes.pass1 import FirstLook, Refused, Wanted, first_look
from server.passes.pass2 import SecondPass, asking_for_usage, measured
from server.passes.streams import with_roi_in_first_chunk
from server.passes.zoom import Looked, Looker

ChatAnswer: TypeAlias = AsyncGenerator[str, None] | ChatCompletionResponse | ErrorResponse


class TwoPassChat:
    """Stands in for vLLM's chat handler: same call, same answers, with a second, sharper look."""

    def __init__(self, handler: Any, looker: Looker) -> None:
        self._handler = handler
        self._looker = looker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """vLLM's answer to the chat, with a `roi` object if the chat has a picture.

        Raises RequestError for bad input.
        """
        asked = _read(request)
        if not asked.pictures:
            metrics.count(Outcome.TEXT_ONLY)
            return await self._second_pass(request, asked.messages, raw_request)
        try:
            looked = await self._look(request, asked, raw_request)
        except Refused as refusal:
            return refusal.response
        second = SecondPass(looked.report)
        measurable = asking_for_usage(request) if request.stream else {}
        answer = await second.asked(
            self._second_pass(request, looked.messages, raw_request, **measurable)
        )
        wanted = request.stream_options and request.stream_options.include_usage
        forced = getattr(self._handler, "enable_force_include_usage", False)
        return _with_report(answer, looked.report, second, hide_usage=not (wanted or forced))

    async def regions(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> RoiReport | ErrorResponse:
        """The regions this chat would be answered with, and no answer. Raises RequestError."""
        asked = _read(request)
        if not asked.pictures:
            raise RequestError("there is no picture in the chat to find regions in", "messages")
        try:
            looked = await self._look(request, asked, raw_request)
        except Refused as refusal:
            return refusal.response
        return looked.report

    async def _look(
        self, request: ChatCompletionRequest, asked: Asked, raw_request: Request | None
    ) -> Looked:
        async def pass_1(messages: list[Any], wanted: Wanted) -> FirstLook:
            return await first_look(self._handler, request, messages, wanted, raw_request)

        looked = await self._looker.look(asked.messages, asked.pictures, asked.options, pass_1)
        note_report(raw_request, looked.report)
        return looked

    async def _second_pass(
        self,
        request: ChatCompletionRequest,
        messages: list[Any],
        raw_request: Request | None,
        **changes: Any,
    ) -> ChatAnswer:
        answer: ChatAnswer = await self._handler.create_chat_completion(
            request.model_copy(update={"messages": messages, **changes}), raw_request
        )
        return answer


def _read(request: ChatCompletionRequest) -> Asked:
    roi = (request.model_extra or {}).get("roi")
    asked = read(request.messages, roi, request.kv_transfer_params)
    if asked.pictures and request.truncate_prompt_tokens is not None:
        message = "a prompt with pictures is not truncated: half of a picture is none"
        raise RequestError(message, "truncate_prompt_tokens")
    return asked


def _with_report(
    answer: ChatAnswer, report: RoiReport, second: SecondPass, hide_usage: bool
) -> ChatAnswer:
    """`answer` with its `roi` object; `second` is told what pass 2 took and read."""
    roi = report.model_dump(mode="json")
    if isinstance(answer, AsyncGenerator):
        return with_roi_in_first_chunk(measured(answer, second, hide_usage), roi, second.begun)
    if isinstance(answer, ChatCompletionResponse):
        second.begun()
        details = answer.usage.prompt_tokens_details
        second.read(answer.usage.prompt_tokens, details.cached_tokens if details else None)
        answer.roi = roi
    second.ended()
    return answer
