"""Pass 1: the chat with its base views, a token or a few long, asking the engine for a RoI map.

It goes through vLLM's own chat handler (`OpenAIServingChat.create_chat_completion`), so that its
prompt is, token for token, the beginning of pass 2's. What shapes the prompt is therefore left
alone (template, tools, thinking); what would only cost time on tokens nobody reads is taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponseChoice,
)
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from rpn_plugin.messages import RoiMap, RoiRequest, decode_result
from server.api.roi import PassUsage

# Fields of ChatCompletionRequest that concern the answer and not the prompt.
_UNREAD_ANSWER: dict[str, Any] = {
    "max_tokens": None,
    "min_tokens": 0,
    "temperature": 0.0,
    "seed": None,
    "n": 1,
    "stream": False,
    "stream_options": None,
    "use_beam_search": False,
    "stop": [],
    "stop_token_ids": [],
    "logprobs": False,
    "top_logprobs": 0,
    "prompt_logprobs": None,
    "logprob_token_ids": None,
    "logit_bias": None,
    "allowed_token_ids": None,
    "bad_words": [],
    "response_format": None,
    "structured_outputs": None,
    "thinking_token_budget": None,
    "repetition_detection": None,
    "echo": False,
    "return_token_ids": None,
    "return_prompt_text": None,
}


class Refused(Exception):
    """vLLM answered a pass with an error of its own; `response` is what it said."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(response.error.message)
        self.response = response


@dataclass(frozen=True)
class Wanted:
    """What pass 1 is to find out; `confidence_tokens`: and the model's confidence in so many
    tokens.
    """

    roi: RoiRequest
    confidence_tokens: int = 0


@dataclass(frozen=True)
class FirstLook:
    """What pass 1 found out: the RoI map of one picture, what reading the prompt took, and if
    wanted the least probability of the tokens that the model would begin its answer with.
    """

    roi_map: RoiMap
    usage: PassUsage
    confidence: float | None = None


async def first_look(
    handler: Any,
    request: ChatCompletionRequest,
    messages: list[Any],
    wanted: Wanted,
    raw_request: Request | None,
) -> FirstLook:
    """Runs pass 1 of `request` with `messages` in place of its own; `handler` is vLLM's.

    Raises RoiError if the engine made no map, Refused if vLLM would not take the request (or the
    client is gone: vLLM answers a cancelled request with an error response).
    """
    answer = await handler.create_chat_completion(
        _first_pass(request, messages, wanted), raw_request
    )
    if isinstance(answer, ErrorResponse):
        raise Refused(answer)
    details = answer.usage.prompt_tokens_details
    usage = PassUsage(
        prompt_tokens=answer.usage.prompt_tokens,
        cached_tokens=details.cached_tokens if details else None,
    )
    confidence = _confidence(answer.choices[0]) if wanted.confidence_tokens else None
    return FirstLook(decode_result(answer.kv_transfer_params), usage, confidence)


def _confidence(answer: ChatCompletionResponseChoice) -> float:
    return math.exp(min(token.logprob for token in answer.logprobs.content))


def _first_pass(
    request: ChatCompletionRequest, messages: list[Any], wanted: Wanted
) -> ChatCompletionRequest:
    changes = {
        **_UNREAD_ANSWER,
        "max_completion_tokens": max(1, wanted.confidence_tokens),
        "logprobs": bool(wanted.confidence_tokens),
        "messages": messages,
        "request_id": f"{request.request_id}-pass1",
        "kv_transfer_params": wanted.roi.to_params(),
        # vLLM adds kv_transfer_params to this very dict: a shared one would flag pass 2 as well.
        "vllm_xargs": dict(request.vllm_xargs) if request.vllm_xargs else None,
    }
    return request.model_copy(update=changes)
