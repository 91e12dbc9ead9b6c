"""The batch route (`OpenAIServingChatBatch`): many chats in one request.

The chats of a batch with pictures are answered concurrently, each with its two passes. A batch
without pictures goes to vLLM unchanged. Every chat of either counts as a request in flight.
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
from server.handlers.wrapper import HandlerWrapper
from server.observe.report_header import drop_report
from server.pictures.parts import find_pictures, plain_messages


class TwoPassBatch(HandlerWrapper):
    """Stands in for vLLM's batch handler; `chat` answers the chats of a batch with pictures."""

    def __init__(self, handler: Any, chat: TwoPassChat, admission: Admission) -> None:
        super().__init__(handler)
        self._chat = chat
        self._admission = admission

    async def create_batch_chat_completion(
        self, request: BatchChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatCompletionResponse | ErrorResponse:
        """One choice per chat, in order; a choice's `roi` is its chat's. Raises RequestError."""
        chats = [plain_messages(messages) for messages in request.messages]
        if len(chats) > self._admission.limit:
            message = f"a batch of {len(chats)} chats; this server takes {self._admission.limit}"
            raise RequestError(message, "messages")
        additional = len(chats) - 1
        self._admission.grow(additional)
        try:
            if any(find_pictures(messages) for messages in chats):
                return await self._answer_all(request, chats, raw_request)
            answer: (
                ChatCompletionResponse | ErrorResponse
            ) = await self._handler.create_batch_chat_completion(request, raw_request)
            return answer
        finally:
            self._admission.leave(additional)

    async def _answer_all(
        self,
        request: BatchChatCompletionRequest,
        chats: list[list[Any]],
        raw_request: Request | None,
    ) -> ChatCompletionResponse | ErrorResponse:
        """Answers all `chats` concurrently; if one is refused, the others are cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        self._chat.create_chat_completion(
                            request.to_chat_completion_request(messages), raw_request
                        )
                    )
                    for messages in chats
                ]
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from None
        finally:
            drop_report(raw_request)  # the header has room for one chat's report only
        answers = [task.result() for task in tasks]
        failed = next((one for one in answers if isinstance(one, ErrorResponse)), None)
        return failed or _merge(answers)


def _merge(answers: Sequence[Any]) -> ChatCompletionResponse:
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
    merged: ChatCompletionResponse = answers[0].model_copy(
        update={"choices": choices, "usage": usage, "roi": None}
    )
    return merged
