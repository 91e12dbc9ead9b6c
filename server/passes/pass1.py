"""Pass 1: the chat with its base views, one or a few tokens long, which asks for a RoI map.

It goes through vLLM's own chat handler (`OpenAIServingChat.create_chat_completion`), so that its
prompt is, token for token, the beginning of pass 2's. Its request has the caller's fields that
shape the prompt, the cache or the scheduling (`PROMPT_FIELDS`), and vLLM's defaults otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponseChoice,
)
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from rpn_plugin.messages import RoiMap, RoiRequest, decode_result
from server.api.roi_report import PassUsage
from server.passes.retry import create_with_retry

PROMPT_FIELDS = (
    "model",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "include_reasoning",
    "user",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "media_io_kwargs",
    "mm_processor_kwargs",
    "priority",
    "session_id",
    "cache_salt",
    "ec_transfer_params",
)
"""Fields of ChatCompletionRequest that pass 1 copies from the caller's request."""

_ID_HEADER = "x-request-id"
_ID_SUFFIX = "-pass1"


class Pass1Refused(Exception):
    """vLLM answered pass 1 with an error of its own, `response`."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.error.message)
        self.response = response


@dataclass(frozen=True)
class Pass1Options:
    """What pass 1 computes: a RoI map, and the confidence in `confidence_tokens` answer tokens."""

    roi: RoiRequest
    confidence_tokens: int = 0


@dataclass(frozen=True)
class Pass1Result:
    """The RoI map of one picture, and what its prompt took.

    `confidence`, if requested, is the lowest probability among the first tokens of the answer.
    """

    roi_map: RoiMap
    usage: PassUsage
    confidence: float | None = None


Pass1 = Callable[
    [Any, ChatCompletionRequest, list[Any], Pass1Options, Request | None], Awaitable[Pass1Result]
]
"""How pass 1 is run: `run_pass1`, or another method that is compared with it."""


async def run_pass1(
    handler: Any,
    request: ChatCompletionRequest,
    messages: list[Any],
    options: Pass1Options,
    raw_request: Request | None,
) -> Pass1Result:
    """Runs pass 1 of `request` with `messages` in place of its own; `handler` is vLLM's.

    Raises RoiError if the engine made no map, Pass1Refused if vLLM refuses the request.
    """
    answer = await create_with_retry(
        handler.create_chat_completion,
        _pass1_request(request, messages, options),
        _with_pass1_id(raw_request),
    )
    if isinstance(answer, ErrorResponse):
        raise Pass1Refused(answer)
    details = answer.usage.prompt_tokens_details
    usage = PassUsage(
        prompt_tokens=answer.usage.prompt_tokens,
        cached_tokens=details.cached_tokens if details else None,
    )
    confidence = _confidence(answer.choices[0]) if options.confidence_tokens else None
    return Pass1Result(decode_result(answer.kv_transfer_params), usage, confidence)


def _confidence(answer: ChatCompletionResponseChoice) -> float:
    return math.exp(min(token.logprob for token in answer.logprobs.content))


def _pass1_request(
    request: ChatCompletionRequest, messages: list[Any], options: Pass1Options
) -> ChatCompletionRequest:
    # Not validated again: validation would rebuild the content parts that hold pictures.
    pass1_request: ChatCompletionRequest = ChatCompletionRequest.model_construct(
        **{name: getattr(request, name) for name in PROMPT_FIELDS},
        messages=messages,
        temperature=0.0,
        max_completion_tokens=max(1, options.confidence_tokens),
        logprobs=bool(options.confidence_tokens),
        request_id=f"{request.request_id}{_ID_SUFFIX}",
        kv_transfer_params=options.roi.to_params(),
        # vLLM adds kv_transfer_params to this very dict: a shared one would flag pass 2 as well.
        vllm_xargs=dict(request.vllm_xargs) if request.vllm_xargs else None,
    )
    return pass1_request


def _with_pass1_id(raw_request: Request | None) -> Request | None:
    """`raw_request` with an id of pass 1's own, which vLLM prefers to the request's field.

    Rests on `BaseServing._base_request_id`. The state is shared, the headers are not.
    """
    if raw_request is None or _ID_HEADER not in raw_request.headers:
        return raw_request
    scope = {**raw_request.scope, "headers": list(raw_request.scope["headers"])}
    MutableHeaders(scope=scope)[_ID_HEADER] = raw_request.headers[_ID_HEADER] + _ID_SUFFIX
    return Request(scope, raw_request.receive)
