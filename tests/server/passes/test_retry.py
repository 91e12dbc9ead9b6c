from __future__ import annotations

import asyncio
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.exceptions import GenerationError

from server.passes.retry import create_with_retry

TEXT = {"type": "text", "text": "Where?"}


def view(name: str) -> Any:
    return {"type": "image_pil", "image_pil": object(), "uuid": name}


def request(kind: str) -> Any:
    messages = [{"role": "user", "content": [view("base"), view("crop"), TEXT]}]
    if kind == "chat":
        return ChatCompletionRequest.model_construct(messages=messages)
    return ResponsesRequest.model_construct(input=messages)


def parts(sent: Any) -> Any:
    messages = sent.messages if hasattr(sent, "messages") else sent.input
    return messages[0]["content"]


@pytest.mark.parametrize("kind", ["chat", "responses"])
@pytest.mark.parametrize(
    "error", [GenerationError(), AssertionError("Expected a cached item for mm_hash='base'")]
)
async def test_a_lost_picture_is_sent_again_under_another_name(kind: str, error: Any) -> None:
    sent: list[Any] = []

    async def create(request: Any, raw_request: Any) -> str:
        sent.append(request)
        if len(sent) == 1:
            raise error
        return "answer"

    original = request(kind)
    assert await create_with_retry(create, original, None) == "answer"
    first, second = map(parts, sent)
    assert first == parts(original)
    assert [part["image_pil"] for part in second[:2]] == [part["image_pil"] for part in first[:2]]
    names = {part["uuid"] for part in [*first[:2], *second[:2]]}
    assert len(names) == 4
    assert second[2] == TEXT


async def test_a_second_failure_is_raised() -> None:
    async def create(request: Any, raw_request: Any) -> str:
        raise GenerationError("lost again")

    with pytest.raises(GenerationError, match="lost again"):
        await create_with_retry(create, request("chat"), None)


async def test_an_assertion_about_anything_else_is_raised() -> None:
    async def create(request: Any, raw_request: Any) -> str:
        calls.append(request)
        raise AssertionError("no such thing")

    calls: list[Any] = []
    with pytest.raises(AssertionError, match="no such thing"):
        await create_with_retry(create, request("chat"), None)
    assert len(calls) == 1


async def test_a_cancellation_that_vllm_answers_with_an_error_ends_the_request() -> None:
    async def create(request: Any, raw_request: Any) -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as OpenAIServingChat.chat_completion_full_generator does
            return "Client disconnected"
        return "answer"

    running = asyncio.Event()
    task = asyncio.create_task(create_with_retry(create, request("chat"), None))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
