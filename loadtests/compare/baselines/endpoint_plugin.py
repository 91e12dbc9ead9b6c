"""The endpoint plugin: sdrpn's, with a chat handler that knows the other methods by name.

A chat names one in the field `baseline` of its body.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import State
from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from loadtests.compare.baselines.uncached import UncachedChat
from loadtests.compare.baselines.vicrop import ViCropPass1
from server.api.errors import RequestError
from server.handlers.chat import ChatAnswer, TwoPassChat
from server.handlers.wrapper import HandlerWrapper
from server.plugin import SdrpnEndpointPlugin

FIELD = "baseline"


class BaselinesEndpointPlugin(SdrpnEndpointPlugin):
    """The `vllm.endpoint_plugins` entry point `sdrpn_baselines`."""

    name = "sdrpn_baselines"

    async def init_state(self, engine_client: Any, state: State, args: Namespace) -> None:
        """What sdrpn does, then the other methods in front of it."""
        plain_chat = state.openai_serving_chat
        await super().init_state(engine_client, state, args)
        ours = state.sdrpn_chat
        uncached = UncachedChat(plain_chat)
        vicrop = ours.zoom.with_pass1(ViCropPass1(concurrent=True))
        vicrop_cached = ours.zoom.with_pass1(ViCropPass1(concurrent=False))
        state.openai_serving_chat = BaselineChat(
            ours,
            {
                "recompute": TwoPassChat(uncached, ours.zoom),
                "vicrop": TwoPassChat(uncached, vicrop),
                "vicrop-cached": TwoPassChat(plain_chat, vicrop_cached),
            },
        )


class BaselineChat(HandlerWrapper):
    """sdrpn's chat handler; a chat that names a baseline is answered by that one's."""

    def __init__(self, ours: TwoPassChat, baselines: Mapping[str, TwoPassChat]) -> None:
        super().__init__(ours)
        self._baselines = baselines

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None = None
    ) -> ChatAnswer:
        """The answer. Raises RequestError for an unknown baseline, and what the handlers raise."""
        name = (request.model_extra or {}).get(FIELD)
        if name is not None and name not in self._baselines:
            raise RequestError(f"`{FIELD}` is one of {', '.join(self._baselines)}", FIELD)
        handler = self._handler if name is None else self._baselines[name]
        return await handler.create_chat_completion(request, raw_request)
