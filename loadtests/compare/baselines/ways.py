"""The ways by name, and who answers a chat that names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from loadtests.compare.baselines.forgetful import Forgetful
from loadtests.compare.baselines.vicrop import ViCropChat
from server.api.errors import RequestError
from server.handlers.chat import ChatAnswer, TwoPassChat
from server.passes.zoom import Looker

FIELD = "research"


class ResearchChat:
    """Our chat handler, or for chats that name another way, that way's."""

    def __init__(self, ours: TwoPassChat, ways: Mapping[str, TwoPassChat]) -> None:
        self._ours = ours
        self._ways = ways

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ours, name)

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """The answer. Raises RequestError for an unknown way, and what the known ones raise."""
        way = (request.model_extra or {}).get(FIELD)
        if way is None:
            return await self._ours.create_chat_completion(request, raw_request)
        if way not in self._ways:
            raise RequestError(f"`{FIELD}` is one of {', '.join(self._ways)}", FIELD)
        return await self._ways[way].create_chat_completion(request, raw_request)


def research_chat(ours: TwoPassChat, plain_chat: Any, looker: Looker) -> ResearchChat:
    """`ours` with the other ways beside it; `plain_chat` is vLLM's handler."""
    ways: dict[str, TwoPassChat] = {
        "recompute": TwoPassChat(Forgetful(plain_chat), looker),
        "vicrop": ViCropChat(Forgetful(plain_chat), looker, at_once=True),
        "vicrop-cached": ViCropChat(plain_chat, looker, at_once=False),
    }
    return ResearchChat(ours, ways)
