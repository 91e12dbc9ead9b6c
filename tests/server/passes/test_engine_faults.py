"""The two passes when the engine fails. A stand-in for vLLM's chat handler fails on purpose."""

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
from vllm.entrypoints.serve.engine.serving import BaseServing
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
    pictures = PictureRoom(PictureSources(Fetcher(MediaPolicy())), DEFAULTS.image, 16)
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
async def test_without_a_map_the_base_views_answer(first: Any, reason: str) -> None:
    handler = Handler(first)
    answer: Any = await two_pass(handler).create_chat_completion(request())
    assert answer.roi["skipped"].startswith("error: ")
    assert reason in answer.roi["skipped"]
    assert answer.roi["regions"] == []
    kinds = [part["type"] for part in handler.requests[1].messages[0]["content"]]
    assert kinds == ["image_pil", "text"]


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """The outcomes that are counted during the test."""
    counted: list[Outcome] = []
    monkeypatch.setattr("server.observe.metrics.count", counted.append)
    return counted


async def test_a_missing_map_is_counted(outcomes: list[Outcome]) -> None:
    await two_pass(Handler(None)).create_chat_completion(request())
    assert outcomes == [Outcome.ERROR]


async def test_a_refusal_of_pass_1_is_the_answer() -> None:
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
    """`is_sleeping` returns `state`, raises it, or never returns if it is None."""

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
async def test_ready_requires_an_answer_of_the_engine(
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


async def test_pass_1_has_a_request_id_of_its_own() -> None:
    """vLLM names an engine request after the header, whatever the request's own field says."""

    class Naming(Handler):
        async def create_chat_completion(self, request: Any, raw_request: Any = None) -> Any:
            names.append(BaseServing._base_request_id(raw_request, request.request_id) or "")
            raw_request.state.in_pass_1 = True
            return await super().create_chat_completion(request, raw_request)

    names: list[str] = []
    raw_request = Request({"type": "http", "headers": [(b"x-request-id", b"abc")], "state": {}})
    await two_pass(Naming(a_map(9.0))).create_chat_completion(request(), raw_request)
    assert names == ["abc-pass1", "abc"]
    assert raw_request.headers["x-request-id"] == "abc"
    assert raw_request.state.in_pass_1, "the passes do not share the request's state"


class Refusing(Handler):
    """Refuses chats with more views than `limit`, as an answer or as an exception."""

    def __init__(self, limit: int, refusal: ErrorResponse | Exception) -> None:
        super().__init__(a_map(9.0))
        self.limit, self.refusal = limit, refusal

    async def create_chat_completion(self, request: Any, raw_request: Any = None) -> Any:
        answer = await super().create_chat_completion(request, raw_request)
        parts = [part["type"] for part in request.messages[0]["content"]]
        if parts.count("image_pil") <= self.limit:
            return answer
        if isinstance(self.refusal, Exception):
            raise self.refusal
        return self.refusal


TOO_LONG = "This model's maximum context length is 2048 tokens."
REFUSALS = [
    ErrorResponse(error=ErrorInfo(message=TOO_LONG, type="BadRequestError", code=400)),
    ValueError(TOO_LONG),
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("roi", [True, {"boxes": [[0, 0, 50, 50]]}])
async def test_a_chat_that_fits_without_its_crop_is_answered(
    roi: Any, refusal: Any, outcomes: list[Outcome]
) -> None:
    answer: Any = await two_pass(Refusing(1, refusal)).create_chat_completion(request(roi=roi))
    assert (answer.roi["skipped"], answer.roi["regions"]) == ("context_length", [])
    assert outcomes == [Outcome.CROPS_REFUSED]


async def test_crops_over_vllms_limit_of_pictures_are_left_out() -> None:
    refusal = ValueError("At most 1 image(s) may be provided in one prompt.")
    answer: Any = await two_pass(Refusing(1, refusal)).create_chat_completion(request())
    assert answer.roi["skipped"] == "error: vLLM refuses the crops"


async def test_a_chat_that_does_not_fit_at_all_is_refused() -> None:
    refusal = ValueError(TOO_LONG)
    with pytest.raises(ValueError, match="maximum context length"):
        await two_pass(Refusing(0, refusal)).create_chat_completion(
            request(roi={"boxes": [[0, 0, 50, 50]]})
        )
