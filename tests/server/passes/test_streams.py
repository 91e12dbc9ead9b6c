from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse
from vllm.exceptions import GenerationError

from server.api.outcomes import Outcome
from server.api.roi_report import RoiReport
from server.passes.pass2 import Pass2
from server.passes.streams import HiddenUsage, request_usage, stream_answer

REPORT = RoiReport(regions=[], image=0, image_size=(9, 9), grid=(1, 1), skipped="off", timings={})
ROI = REPORT.model_dump(mode="json")
REQUEST = ChatCompletionRequest(messages=[], stream=True)
DONE = "data: [DONE]\n\n"


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    payload = {"id": "1", "choices": [choice], **fields}
    return f"data: {json.dumps(payload, separators=(',', ':'))}\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
WORD = chunk({"content": "red"})
LAST = chunk({"content": "."}, "stop")
USAGE = 'data: {"id":"1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'
LOST = 'data: {"error":{"message":"lost","type":"InternalServerError","code":500}}\n\n'


class Handler:
    """Answers each try with the next of `tries`: events, an error response or an exception."""

    def __init__(self, *tries: Any) -> None:
        self.tries = list(tries)
        self.closed = 0

    async def create(self, request: Any, raw_request: Any) -> Any:
        answer = self.tries.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return self._stream(answer) if isinstance(answer, list) else answer

    async def _stream(self, events: list[str]) -> AsyncGenerator[str, None]:
        try:
            for event in events:
                yield event
        finally:
            self.closed += 1


async def open_stream(
    handler: Handler, hidden: HiddenUsage | None = None
) -> AsyncGenerator[str, None]:
    pass2 = Pass2(REPORT, Outcome.OFF)
    events = await pass2.run(handler.create, REQUEST, REQUEST, None)
    return stream_answer(events, pass2, hidden)


async def answer(*tries: Any, hidden: HiddenUsage | None = None) -> list[str]:
    return [event async for event in await open_stream(Handler(*tries), hidden)]


def payload(event: str) -> Any:
    return json.loads(event.removeprefix("data: "))


async def test_only_the_first_chunk_has_the_report() -> None:
    events = await answer([ROLE, WORD, LAST, DONE])
    assert payload(events[0]) == {**payload(ROLE), "roi": ROI}
    assert events[1:] == [WORD, LAST, DONE]


@pytest.mark.parametrize("first", ['data: {"error": {"message": "no", "code": 400}}\n\n', DONE])
async def test_an_event_that_is_no_chunk_is_unchanged(first: str) -> None:
    assert await answer([first, DONE]) == [first, DONE]


async def test_closing_the_stream_closes_vllms_stream() -> None:
    handler = Handler([ROLE, WORD, LAST, DONE])
    stream = await open_stream(handler)
    await anext(stream)
    await stream.aclose()
    assert handler.closed == 1, "vLLM's generator is still open"


async def test_usage_that_the_caller_did_not_request_is_hidden() -> None:
    assert (await answer([ROLE, WORD, LAST, USAGE, DONE]))[-2] == USAGE
    hidden = await answer([ROLE, WORD, LAST, USAGE, DONE], hidden=HiddenUsage())
    assert hidden[1:] == [WORD, LAST, DONE]


async def test_hidden_usage_leaves_the_fingerprint_where_vllm_puts_it() -> None:
    """vLLM moves `system_fingerprint` into the usage chunk as soon as there is one."""
    events = await answer([ROLE, WORD, LAST, USAGE, DONE], hidden=HiddenUsage("fp"))
    prints = [payload(event).get("system_fingerprint") for event in events[:-1]]
    assert prints == [None, None, "fp"]


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, True),
        ({"stream_options": {"include_usage": False}}, True),
        ({"stream_options": {"include_usage": True}}, False),
        ({"stream": False}, False),
    ],
)
def test_usage_is_requested_where_the_caller_does_not(fields: Any, changed: bool) -> None:
    request = ChatCompletionRequest.model_validate({"messages": [], "stream": True, **fields})
    changes, hidden = request_usage(request, None)
    assert bool(changes) is changed
    assert (hidden is not None) is changed


async def test_a_lost_picture_is_sent_again() -> None:
    events = await answer([ROLE, LOST, DONE], [ROLE, WORD, LAST, DONE])
    assert payload(events[0])["roi"] == ROI
    assert events[1:] == [WORD, LAST, DONE]


SECOND_TRIES = {
    "an error response": ErrorResponse(
        error=ErrorInfo(message="lost again", type="InternalServerError", code=500)
    ),
    "an exception": GenerationError("lost again"),
    "an error event": [LOST.replace("lost", "lost again"), DONE],
}


@pytest.mark.parametrize("second", SECOND_TRIES)
async def test_a_second_try_that_fails_ends_in_an_error_event(second: str) -> None:
    failure = SECOND_TRIES[second]
    # An exception is tried once more by `create_with_retry`.
    events = await answer([LOST, DONE], failure, failure)
    assert "lost again" in payload(events[0])["error"]["message"]
    assert payload(events[0])["error"]["code"] == 500
    assert events[1:] == [DONE]
