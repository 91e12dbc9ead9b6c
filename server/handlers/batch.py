"""Many chats in one request: vLLM's batch route (`OpenAIServingChatBatch`), with pictures.

A batch with pictures is answered as the chats it holds, all at once, each with its two passes; one
without stays vLLM's.
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

from server.chat import find_pictures, plain_messages
from server.handlers.chat import TwoPassChat


class TwoPassBatch:
    """Stands in for vLLM's batch handler."""

    def __init__(self, handler: Any, chat: TwoPassChat) -> None:
        self._handler = handler
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def create_batch_chat_completion(
        self, request: BatchChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatCompletionResponse | ErrorResponse:
        """One choice per chat, in order; a choice's `roi` is its chat's. Raises RequestError."""
        chats = [plain_messages(messages) for messages in request.messages]
        if not any(find_pictures(messages) for messages in chats):
            answer: (
                ChatCompletionResponse | ErrorResponse
            ) = await self._handler.create_batch_chat_completion(request, raw_request)
            return answer
        answers = await asyncio.gather(
            *(self._answer(request, messages, raw_request) for messages in chats)
        )
        refused = next((one for one in answers if isinstance(one, ErrorResponse)), None)
        return refused or _together(answers)

    async def _answer(
        self, request: BatchChatCompletionRequest, messages: list[Any], raw_request: Request | None
    ) -> Any:
        single = request.to_chat_completion_request(messages)
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
