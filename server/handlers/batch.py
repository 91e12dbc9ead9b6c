"""Many chats in one request: vLLM's batch route (`OpenAIServingChatBatch`), with pictures.

A batch with pictures is answered as the chats it holds, all at once, each with its two passes; one
without stays vLLM's. Every chat of either counts as a request in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    BatchChatCompletionRequest,
    ChatCompletionResponse,
)
from vllm.entrypoints.serve.engine.protocol import ErrorResponse, UsageInfo

from server.api.errors import RequestError
from server.guard.admission import Admission
from server.handlers.chat import TwoPassChat
from server.handlers.parsing import drop_report
from server.pictures.parts import find_pictures, plain_messages


class TwoPassBatch:
    """Stands in for vLLM's batch handler."""

    def __init__(self, handler: Any, chat: TwoPassChat, admission: Admission) -> None:
        self._handler = handler
        self._chat = chat
        self._admission = admission

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def create_batch_chat_completion(
        self, request: BatchChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatCompletionResponse | ErrorResponse:
        """One choice per chat, in order; a choice's `roi` is its chat's. Raises RequestError."""
        chats = [plain_messages(messages) for messages in request.messages]
        if len(chats) > self._admission.limit:
            message = f"a batch of {len(chats)} chats; this server takes {self._admission.limit}"
            raise RequestError(message, "messages")
        besides_the_first = len(chats) - 1
        self._admission.grow(besides_the_first)
        try:
            if any(find_pictures(messages) for messages in chats):
                return await self._answer_all(request, chats, raw_request)
            answer: (
                ChatCompletionResponse | ErrorResponse
            ) = await self._handler.create_batch_chat_completion(request, raw_request)
            return answer
        finally:
            self._admission.leave(besides_the_first)

    async def _answer_all(
        self,
        request: BatchChatCompletionRequest,
        chats: list[list[Any]],
        raw_request: Request | None,
    ) -> ChatCompletionResponse | ErrorResponse:
        """All `chats` at once; where one is refused, the others are given up."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._answer(request, messages, raw_request))
                    for messages in chats
                ]
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from None
        finally:
            drop_report(raw_request)  # it would be the last chat's alone
        answers = [task.result() for task in tasks]
        failed = next((one for one in answers if isinstance(one, ErrorResponse)), None)
        return failed or _together(answers)

    async def _answer(
        self, request: BatchChatCompletionRequest, messages: list[Any], raw_request: Request | None
    ) -> Any:
        single = request.to_chat_completion_request(messages)
        if not find_pictures(messages):
            single.roi = None  # meant for the chats that have one
        return await self._chat.create_chat_completion(single, raw_request)


def _together(answers: Sequence[Any]) -> ChatCompletionResponse:
    """One response with a choice from each of `answers`, and the sum of what they used."""
    for index, answer in enumerate(answers):
        answer.choices[0].index = index
        answer.choices[0].roi = getattr(answer, "roi", None)
    usages = [answer.usage for answer in answers]
    usage = UsageInfo(
        prompt_tokens=sum(one.prompt_tokens for one in usages),
        completion_tokens=sum(one.completion_tokens for one in usages),
        total_tokens=sum(one.total_tokens for one in usages),
    )
    choices = [answer.choices[0] for answer in answers]
    together: ChatCompletionResponse = answers[0].model_copy(
        update={"choices": choices, "usage": usage, "roi": None}
    )
    return together
