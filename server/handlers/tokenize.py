"""The tokenize route (`ServingTokenization`): a chat's tokens are those of its pass 2."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.handlers.chat import TwoPassChat
from server.handlers.wrapper import HandlerWrapper
from server.passes.pass1 import Pass1Refused


class ZoomedTokenization(HandlerWrapper):
    """Stands in for vLLM's handler; `chat` makes views of pictures, which costs a pass 1."""

    def __init__(self, handler: Any, chat: TwoPassChat) -> None:
        super().__init__(handler)
        self._chat = chat

    async def create_tokenize(self, request: Any, raw_request: Request) -> Any:
        """vLLM's answer. Raises RequestError for pictures that cannot be served."""
        if not hasattr(request, "messages"):
            return await self._handler.create_tokenize(request, raw_request)
        try:
            chat = await self._chat.pass2_request(_as_chat(request), raw_request)
        except Pass1Refused as refusal:
            return refusal.response
        zoomed = request.model_copy(update={"messages": chat.messages})
        return await self._handler.create_tokenize(zoomed, raw_request)


def _as_chat(request: Any) -> ChatCompletionRequest:
    """The chat that is tokenized; not validated again, which would rebuild its content parts."""
    shared = ChatCompletionRequest.model_fields.keys() & type(request).model_fields.keys()
    fields = {name: getattr(request, name) for name in shared}
    roi = (request.model_extra or {}).get("roi")
    chat: ChatCompletionRequest = ChatCompletionRequest.model_construct(**fields, roi=roi)
    return chat
