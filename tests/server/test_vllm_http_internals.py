"""The parts of vLLM's HTTP server that we rest on; a failure names what has moved."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from starlette.requests import Request
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.generate import api_router as generate_router
from vllm.entrypoints.launchers.api_server import app_state, entry
from vllm.entrypoints.openai.chat_completion.batch_serving import OpenAIServingChatBatch
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.openai.responses.serving import OpenAIServingResponses
from vllm.entrypoints.openai.responses.utils import construct_input_messages
from vllm.entrypoints.serve.engine.serving import BaseServing
from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

from server.passes.pass1 import PROMPT_FIELDS

REPLACED_FIELDS = {
    "messages",
    "temperature",
    "max_completion_tokens",
    "logprobs",
    "request_id",
    "kv_transfer_params",
    "vllm_xargs",
}
"""Pass 1 has values of its own for these."""

ANSWER_FIELDS = {
    "frequency_penalty",
    "logit_bias",
    "top_logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "top_p",
    "thinking_token_budget",
    "use_beam_search",
    "top_k",
    "min_p",
    "repetition_penalty",
    "watermarking",
    "length_penalty",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "min_tokens",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "prompt_logprobs",
    "logprob_token_ids",
    "allowed_token_ids",
    "bad_words",
    "echo",
    "structured_outputs",
    "return_tokens_as_token_ids",
    "return_token_ids",
    "routed_experts_prompt_start",
    "return_token_offsets",
    "return_prompt_text",
    "mm_payload",
    "return_mm_kwargs",
    "repetition_detection",
    "stream_interval",
}
"""Pass 1 leaves these at vLLM's defaults: they concern the answer, which nobody reads."""

REFUSED_FIELDS = {"truncate_prompt_tokens", "truncation_side"}
"""A prompt with pictures is not truncated, so these have no effect."""


def test_every_field_of_a_chat_is_decided_for_pass_1() -> None:
    decided = [set(PROMPT_FIELDS), REPLACED_FIELDS, ANSWER_FIELDS, REFUSED_FIELDS]
    fields = set(ChatCompletionRequest.model_fields)
    everything = set().union(*decided)
    assert sum(map(len, decided)) == len(everything), "a field is in two lists"
    new, gone = fields - everything, everything - fields
    assert not new, f"ChatCompletionRequest has new fields: does pass 1 copy {sorted(new)}?"
    assert not gone, f"ChatCompletionRequest has lost {sorted(gone)}"


METHODS: list[tuple[Any, str, tuple[str, ...]]] = [
    (OpenAIServingChat, "create_chat_completion", ("request", "raw_request")),
    (OpenAIServingChatBatch, "create_batch_chat_completion", ("request", "raw_request")),
    (OpenAIServingResponses, "create_responses", ("request", "raw_request")),
    (AnthropicServingMessages, "create_messages", ("request", "raw_request")),
    (AnthropicServingMessages, "count_tokens", ("request", "raw_request")),
    (ServingTokenization, "create_tokenize", ("request", "raw_request")),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_wrapped_method_is_as_it_was(owner: Any, name: str, parameters: tuple[str, ...]) -> None:
    method = getattr(owner, name, None)
    what = f"{owner.__name__}.{name}"
    assert method is not None, f"{what} is gone"
    present = tuple(p for p in inspect.signature(method).parameters if p != "self")
    assert present == parameters, f"{what} takes {present}, not {parameters}"


def test_messages_run_their_chat_on_the_object_they_are_called_on() -> None:
    """`TwoPassMessages` calls these methods with itself as `self`."""
    create = inspect.getsource(AnthropicServingMessages.create_messages)
    assert "self.create_chat_completion(chat_req, raw_request)" in create, "create_messages"
    count = inspect.getsource(AnthropicServingMessages.count_tokens)
    assert "self.render_chat_request(chat_req)" in count, "AnthropicServingMessages.count_tokens"


STATE_NAMES = [
    "openai_serving_chat",
    "openai_serving_chat_batch",
    "openai_serving_responses",
    "anthropic_serving_messages",
    "serving_tokenization",
    "openai_serving_models",
]


@pytest.mark.parametrize("name", STATE_NAMES)
def test_handlers_stand_in_the_apps_state(name: str) -> None:
    sources = inspect.getsource(app_state) + inspect.getsource(generate_router)
    assert f"state.{name} =" in sources, f"app.state.{name} is gone"


def test_the_entry_point_is_there() -> None:
    assert not inspect.signature(entry.main).parameters, "api_server.entry.main takes arguments"


def test_responses_keep_earlier_turns_where_pass_1_reads_them() -> None:
    source = inspect.getsource(OpenAIServingResponses.__init__)
    for name in ("response_store", "response_store_lock", "msg_store"):
        assert f"self.{name}" in source, f"OpenAIServingResponses.{name} is gone"
    parameters = set(inspect.signature(construct_input_messages).parameters)
    used = {"request_instructions", "request_input", "prev_msg", "prev_response_output"}
    assert used <= parameters, f"construct_input_messages has lost {used - parameters}"


def test_a_request_is_named_after_its_header() -> None:
    """Which is why pass 1 gets a header of its own."""
    scope = {"type": "http", "headers": [(b"x-request-id", b"abc")]}
    assert BaseServing._base_request_id(Request(scope), "other") == "abc"
    assert BaseServing._base_request_id(None, "other") == "other"


def test_the_fingerprint_moves_into_the_usage_chunk() -> None:
    """`streams.py` puts it back where the caller did not request the usage."""
    source = inspect.getsource(OpenAIServingChat.chat_completion_stream_generator)
    assert "not include_usage\n                        and self.system_fingerprint" in source
    bases = "".join(inspect.getsource(owner) for owner in OpenAIServingChat.__mro__[:-1])
    for name in ("enable_force_include_usage", "system_fingerprint"):
        assert f"self.{name}" in bases, f"OpenAIServingChat.{name} is gone"
