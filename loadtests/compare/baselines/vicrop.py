"""ViCrop without training (arXiv 2502.17422, "relative attention"), in the same engine.

Two passes find the region: the question's attention to the picture in one of the model's layers,
and that of a general instruction. `window.py` places a window where the first is large relative to
the second, and pass 3 answers with its crop, as sdrpn's pass 2 does. The layer is the one behind
the tap (`layer_attention.py`). The paper's passes share nothing but the model: `vicrop`. With
`vicrop-cached` each finds its prefix in vLLM's cache.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from loadtests.compare.baselines.attention_request import with_attention
from loadtests.compare.baselines.window import best_window
from server.api.roi_report import PassUsage
from server.passes.pass1 import Pass1Options, Pass1Result, run_pass1

GENERAL = "Write a general description of the image."
SMALLEST = 1 / 4
"""The smallest window's share of a picture's side. In the paper it has as many pixels as the
model's whole view: of the demo's pages, 896 pixels wide and shown at 224, a quarter.
"""
_CERTAIN = 20.0
"""The logit of a cell in the window; that of one outside is its negative."""


class ViCropPass1:
    """ViCrop's two passes and window in place of pass 1 and its map (`server.passes.pass1.Pass1`).

    `concurrent`: the two passes run together, so that neither waits for what the other leaves in
    the cache.
    """

    def __init__(self, concurrent: bool) -> None:
        self._concurrent = concurrent

    async def __call__(
        self,
        handler: Any,
        request: ChatCompletionRequest,
        messages: list[Any],
        options: Pass1Options,
        raw_request: Request | None,
    ) -> Pass1Result:
        """The tokens of both passes, and a map that is certain of the window they point at."""
        attention_chat = _AttentionChat(handler)
        chats = (messages, [_general(message) for message in messages])
        passes = [run_pass1(attention_chat, request, chat, options, raw_request) for chat in chats]
        if self._concurrent:
            return _window(*await asyncio.gather(*passes))
        return _window(await passes[0], await passes[1])


class _AttentionChat:
    """A chat handler whose passes return attention in place of the RPN's map."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request | None
    ) -> Any:
        params = with_attention(request.kv_transfer_params)
        return await self._handler.create_chat_completion(
            request.model_copy(update={"kv_transfer_params": params}), raw_request
        )


def _general(message: Any) -> Any:
    """A user's message with the general instruction as its text."""
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, list):
        return message
    pictures = [part for part in content if part.get("type") != "text"]
    return {**message, "content": [*pictures, {"type": "text", "text": GENERAL}]}


def _window(question: Pass1Result, general: Pass1Result) -> Pass1Result:
    """The tokens of both passes, and a map that is certain of the window they point at."""
    relative = _attention(question) / _attention(general)
    rows, cols = relative.shape
    x0, y0, x1, y1 = best_window(relative, side=math.sqrt(rows * cols) * SMALLEST)
    logits = np.full((rows, cols), -_CERTAIN, dtype=np.float32)
    logits[y0:y1, x0:x1] = _CERTAIN
    seconds = question.roi_map.seconds + general.roi_map.seconds
    usage = PassUsage(
        prompt_tokens=question.usage.prompt_tokens + general.usage.prompt_tokens,
        cached_tokens=(question.usage.cached_tokens or 0) + (general.usage.cached_tokens or 0),
    )
    return Pass1Result(replace(question.roi_map, logits=logits, seconds=seconds), usage)


def _attention(result: Pass1Result) -> NDArray[np.float64]:
    attention: NDArray[np.float64] = result.roi_map.logits.astype(np.float64)
    return attention
