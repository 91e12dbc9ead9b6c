"""Anthropic's messages route (`AnthropicServingMessages`), with the two passes inside it.

vLLM translates such a request into a chat and calls its own `create_chat_completion` with that; the
two passes take this call's place. The request's `roi` field is not part of Anthropic's schema and
lost in translation, so it is read from the body as it came.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse

from server.api.errors import RequestError
from server.handlers.chat import ChatAnswer, TwoPassChat
from server.observe import metrics
from server.passes.retry import resending
from server.passes.zoom import Looker
from server.pictures.parts import find_pictures, plain_messages


def put_two_passes_into(handler: Any, looker: Looker) -> None:
    """Changes vLLM's messages handler, in place, to look twice at pictures."""
    chat = TwoPassChat(
        SimpleNamespace(create_chat_completion=resending(handler.create_chat_completion)), looker
    )
    count_tokens = handler.count_tokens

    async def create(
        request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        roi = (await raw_request.json()).get("roi") if raw_request else None
        try:
            return await chat.create_chat_completion(
                request.model_copy(update={"roi": roi}), raw_request
            )
        except RequestError as error:
            return _refused(error)

    async def count(request: Any, raw_request: Request | None = None) -> Any:
        messages = handler.to_chat_completion_request(request).messages
        try:
            if find_pictures(plain_messages(messages)):
                raise RequestError("tokens of chats with pictures are not counted", "messages")
        except RequestError as error:
            return _refused(error)
        return await count_tokens(request, raw_request)

    handler.create_chat_completion = create
    handler.count_tokens = count


def _refused(error: RequestError) -> ErrorResponse:
    """`error` as vLLM's messages route wants it: what is raised there becomes a 500."""
    metrics.count_rejection(error.cause)
    return ErrorResponse(
        error=ErrorInfo(
            message=str(error), type=error.type, param=error.param, code=error.status.value
        )
    )
