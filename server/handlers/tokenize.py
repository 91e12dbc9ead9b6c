"""The tokenize route (`ServingTokenization`), which would decode pictures unchecked."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from server.api.errors import RequestError
from server.handlers.wrapper import HandlerWrapper
from server.pictures.parts import find_pictures, plain_messages


class TextTokenization(HandlerWrapper):
    """Stands in for vLLM's handler: chats with pictures are refused."""

    async def create_tokenize(self, request: Any, raw_request: Request) -> Any:
        """vLLM's answer. Raises RequestError for a chat with a picture."""
        if find_pictures(plain_messages(getattr(request, "messages", ()))):
            raise RequestError("chats with pictures are not tokenized here", "messages")
        return await self._handler.create_tokenize(request, raw_request)
