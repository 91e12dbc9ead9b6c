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
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from server.api.errors import RequestError
from server.guard.asgi import error_response
from server.handlers.chat import ChatAnswer, TwoPassChat
from server.handlers.wrapper import HandlerWrapper
from server.passes.pass1 import Pass1Refused


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
            return _refusal(error)

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """The answer to the chat that vLLM makes of a messages request. Raises RequestError."""
        roi = await _roi(raw_request)
        return await super().create_chat_completion(
            request.model_copy(update={"roi": roi}), raw_request
        )

    async def count_tokens(self, request: Any, raw_request: Request | None = None) -> Any:
        """The tokens of the prompt that an answer to this request would rest on."""
        counter = _TokenCounter(self, raw_request)
        try:
            return await AnthropicServingMessages.count_tokens(counter, request, raw_request)
        except RequestError as error:
            return _refusal(error)
        except Pass1Refused as refusal:
            return refusal.response


class _TokenCounter(HandlerWrapper):
    """The messages handler for one count: it renders the chat as pass 2 would send it."""

    def __init__(self, messages: TwoPassMessages, raw_request: Request | None) -> None:
        super().__init__(messages)
        self._raw_request = raw_request

    async def render_chat_request(self, request: ChatCompletionRequest) -> Any:
        """vLLM's rendering of the chat with its views. Raises RequestError, Pass1Refused."""
        roi = await _roi(self._raw_request)
        chat = request.model_copy(update={"roi": roi})
        zoomed = await self._handler.pass2_request(chat, self._raw_request)
        return await self._handler.online_renderer.render_chat(zoomed, skip_mm_cache=True)


async def _roi(raw_request: Request | None) -> Any:
    return (await raw_request.json()).get("roi") if raw_request else None


def _refusal(error: RequestError) -> ErrorResponse:
    refusal: ErrorResponse = ErrorResponse.model_validate_json(error_response(error).body)
    return refusal
