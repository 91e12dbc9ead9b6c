"""The two passes of a chat, around vLLM's chat handler (`OpenAIServingChat`).

A chat with a picture is looked at first (`look.py`: base views, pass 1, regions, crops); then vLLM
gets the same chat with its views in it, and does everything else. A chat without pictures is vLLM's
alone.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
)
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from rpn_plugin.messages import RoiRequest
from server import metrics
from server.chat import PicturePart, find_pictures, plain_messages
from server.errors import BadRoi, RequestError
from server.first_pass import Refused
from server.look import Looker
from server.metrics import Outcome
from server.schema import RoiDefaults, RoiOptions, RoiReport, parse_roi
from server.streaming import with_roi_in_first_chunk

ChatAnswer: TypeAlias = AsyncGenerator[str, None] | ChatCompletionResponse | ErrorResponse


class TwoPassChat:
    """Stands in for vLLM's chat handler: same call, same answers, with a second, sharper look."""

    def __init__(self, handler: Any, defaults: RoiDefaults) -> None:
        self._handler = handler
        self._looker = Looker(handler, defaults)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """vLLM's answer to the chat, with a `roi` object if the chat has a picture.

        Raises RequestError for bad input.
        """
        messages, pictures, options = _read(request)
        if not pictures:
            if options is not None and options.enabled:
                raise BadRoi("`roi` is on, but there is no picture in the chat")
            metrics.count(Outcome.TEXT_ONLY)
            return await self._second_pass(request, messages, raw_request)
        try:
            looked = await self._looker.look(request, messages, pictures, options, raw_request)
        except Refused as refusal:
            return refusal.response
        started = time.perf_counter()
        answer = await self._second_pass(request, looked.messages, raw_request)
        return _with_report(answer, looked.report, started)

    async def regions(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> RoiReport | ErrorResponse:
        """The regions this chat would be answered with, and no answer. Raises RequestError."""
        messages, pictures, options = _read(request)
        if not pictures:
            raise RequestError("there is no picture in the chat to find regions in", "messages")
        try:
            looked = await self._looker.look(request, messages, pictures, options, raw_request)
        except Refused as refusal:
            return refusal.response
        return looked.report

    async def _second_pass(
        self, request: ChatCompletionRequest, messages: list[Any], raw_request: Request | None
    ) -> ChatAnswer:
        answer: ChatAnswer = await self._handler.create_chat_completion(
            request.model_copy(update={"messages": messages}), raw_request
        )
        return answer


def _read(
    request: ChatCompletionRequest,
) -> tuple[list[Any], list[PicturePart], RoiOptions | None]:
    """The request's messages, the pictures in them and its `roi` field, checked."""
    options = parse_roi((request.model_extra or {}).get("roi"))
    _check_no_message_of_ours(request.kv_transfer_params)
    messages = plain_messages(request.messages)
    return messages, find_pictures(messages), options


def _check_no_message_of_ours(params: dict[str, Any] | None) -> None:
    """Callers ask for regions with `roi`; what goes into the engine is written here alone."""
    try:
        theirs = RoiRequest.from_params(params) is not None
    except ValueError:
        theirs = True
    if theirs:
        raise RequestError("kv_transfer_params.sdrpn is not for callers", "kv_transfer_params")


def _with_report(answer: ChatAnswer, report: RoiReport, started: float) -> ChatAnswer:
    """`answer` with its `roi` object; pass 2's time runs from `started` until it begins to come."""

    def observe() -> None:
        metrics.PASS2_SECONDS.observe(time.perf_counter() - started)

    if isinstance(answer, ErrorResponse):
        return answer
    if isinstance(answer, ChatCompletionResponse):
        observe()
        answer.roi = report.model_dump(mode="json")
        return answer
    return with_roi_in_first_chunk(answer, report.model_dump(mode="json"), observe)
