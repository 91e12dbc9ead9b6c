"""What the endpoint does when the engine lets it down. A healthy engine cannot be made to, so here,
and only here, a stand-in for vLLM's chat handler plays the sick one."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Request
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
)
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse
from vllm.v1.engine.exceptions import EngineDeadError

from rpn_plugin.messages import RoiError, RoiMap, RoiRequest, encode_result
from server import routes
from server.api.outcomes import Outcome
from server.api.roi_settings import RoiDefaults
from server.guard.admission import Admission
from server.handlers.chat import TwoPassChat
from server.passes.opened_pictures import PictureRoom
from server.passes.zoom import Zoom
from server.pictures.fetch import Fetcher
from server.pictures.sources import PictureSources
from server.pictures.url_policy import MediaPolicy
from tests.server.helpers import MODEL, chat, noise, picture_part

DEFAULTS = RoiDefaults(threshold=0.5, base_tokens=16, crop_tokens=16, max_view_tokens=2048)


def two_pass(handler: Any) -> TwoPassChat:
    pictures = PictureRoom(PictureSources(Fetcher(MediaPolicy())), DEFAULTS.image)
    return TwoPassChat(handler, Zoom(DEFAULTS, pictures))


class Handler:
    """Answers pass 1 with `first` and every other request with a plain answer; keeps them all."""

    def __init__(self, first: dict[str, Any] | ErrorResponse | None) -> None:
        self.first = first
        self.requests: list[Any] = []

    async def create_chat_completion(self, request: Any, raw_request: Any = None) -> Any:
        self.requests.append(request)
        is_first = RoiRequest.from_params(request.kv_transfer_params) is not None
        if is_first and isinstance(self.first, ErrorResponse):
            return self.first
        return ChatCompletionResponse(
            model=MODEL,
            choices=[],
            usage={"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
            kv_transfer_params=self.first if is_first else None,
        )


def request(**fields: Any) -> Any:
    return ChatCompletionRequest.model_validate(
        chat(picture_part(noise(112, 112)), "Where?", **fields)
    )


def a_map(value: float) -> dict[str, Any]:
    logits = np.full((4, 4), value, dtype=np.float32)
    return encode_result(RoiMap(logits, seconds=0.001))


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (None, "no RoI result"),
        (encode_result(RoiError("the picture was evicted")), "the picture was evicted"),
        (a_map(float("nan")), "finite"),
    ],
)
async def test_without_a_map_the_base_view_answers(first: Any, reason: str) -> None:
    handler = Handler(first)
    answer: Any = await two_pass(handler).create_chat_completion(request())
    assert answer.roi["skipped"].startswith("error: ")
    assert reason in answer.roi["skipped"]
    assert answer.roi["regions"] == []
    kinds = [part["type"] for part in handler.requests[1].messages[0]["content"]]
    assert kinds == ["image_pil", "text"]


async def test_a_missing_map_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Outcome] = []
    monkeypatch.setattr("server.observe.metrics.count", counted.append)
    await two_pass(Handler(None)).create_chat_completion(request())
    assert counted == [Outcome.ERROR]


async def test_what_vllm_refuses_in_pass_1_is_the_answer() -> None:
    refusal = ErrorResponse(error=ErrorInfo(message="Client disconnected", type="x", code=400))
    handler = Handler(refusal)
    chat_handler = two_pass(handler)
    assert await chat_handler.create_chat_completion(request()) is refusal
    assert await chat_handler.regions(request()) is refusal
    assert len(handler.requests) == 2, "a refused pass 1 has no pass 2"


async def test_the_passes_share_nothing_that_vllm_changes() -> None:
    handler = Handler(a_map(9.0))
    original = request(
        vllm_xargs={"tenant": "a"},
        logprobs=True,
        max_completion_tokens=50,
        n=3,
        temperature=1,
        stop=["#"],
    )
    await two_pass(handler).create_chat_completion(original)
    first, second = handler.requests
    assert (first.max_completion_tokens, first.n, first.logprobs) == (1, 1, False)
    assert (first.stream, first.stop, first.kv_transfer_params["sdrpn"]) == (
        False,
        [],
        {"image": -1, "gate": False},
    )
    assert (second.max_completion_tokens, second.n, second.logprobs) == (50, 3, True)
    assert second.kv_transfer_params is None
    assert first.vllm_xargs == second.vllm_xargs
    assert first.vllm_xargs is not second.vllm_xargs
    base, crop, text = second.messages[0]["content"]
    assert first.messages[0]["content"] == [base, text]
    assert crop["uuid"] != base["uuid"]


async def test_cancelled_in_pass_1_there_is_no_pass_2() -> None:
    class Slow(Handler):
        async def create_chat_completion(self, request: Any, raw_request: Any = None) -> Any:
            await super().create_chat_completion(request)
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    handler = Slow(a_map(9.0))
    running = asyncio.create_task(two_pass(handler).create_chat_completion(request()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(handler.requests) == 1


class Engine:
    """Asked whether it sleeps, it answers `state`, raises it, or hangs where it is None."""

    def __init__(self, state: bool | Exception | None) -> None:
        self.state = state

    async def is_sleeping(self) -> bool:
        if isinstance(self.state, Exception):
            raise self.state
        if self.state is None:
            await asyncio.Event().wait()
        return bool(self.state)


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (False, 200, b"ready"),
        (True, 503, b"asleep"),
        (EngineDeadError(), 503, b"dead"),
        (None, 503, b"did not answer"),
    ],
)
async def test_ready_means_that_the_engine_answers(
    state: bool | Exception | None, status: int, reason: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ENGINE_ANSWERS_WITHIN", 0.05)
    app = FastAPI()
    app.state.engine_client = Engine(state)
    app.state.sdrpn_admission = Admission(limit=1)
    answer = await routes.ready(Request({"type": "http", "app": app}))
    assert answer.status_code == status
    assert reason in answer.body
    assert ("retry-after" in answer.headers) == (status == 503)
