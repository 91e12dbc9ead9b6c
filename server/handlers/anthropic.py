"""Anthropic's messages route (`AnthropicServingMessages`), with the two passes inside it.

vLLM's handler translates such a request into a chat, calls its own `create_chat_completion`, and
translates the answer back. Its methods run on the wrapper here, whose `create_chat_completion` has
the two passes. The `roi` field is lost in translation, so it is read from the body.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse

from server.api.errors import RequestError
from server.handlers.chat import ChatAnswer, TwoPassChat
from server.observe import metrics
from server.pictures.parts import find_pictures, plain_messages


class TwoPassMessages(TwoPassChat):
    """Stands in for vLLM's messages handler.

    vLLM's route answers whatever is raised here with a 500, so a RequestError becomes vLLM's
    ErrorResponse.
    """

    async def create_messages(self, request: Any, raw_request: Request | None = None) -> Any:
        """vLLM's answer to the request, made by two passes."""
        try:
            return await AnthropicServingMessages.create_messages(self, request, raw_request)
        except RequestError as error:
            return _error_response(error)

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """The answer to the chat that vLLM makes of a messages request. Raises RequestError."""
        roi = (await raw_request.json()).get("roi") if raw_request else None
        return await super().create_chat_completion(
            request.model_copy(update={"roi": roi}), raw_request
        )

    async def count_tokens(self, request: Any, raw_request: Request | None = None) -> Any:
        """vLLM's count of a request without pictures."""
        messages = self._handler.to_chat_completion_request(request).messages
        try:
            if find_pictures(plain_messages(messages)):
                raise RequestError("tokens of chats with pictures are not counted", "messages")
        except RequestError as error:
            return _error_response(error)
        return await self._handler.count_tokens(request, raw_request)


def _error_response(error: RequestError) -> ErrorResponse:
    metrics.count_rejection(error.cause)
    return ErrorResponse(
        error=ErrorInfo(
            message=str(error), type=error.type, param=error.param, code=error.status.value
        )
    )
