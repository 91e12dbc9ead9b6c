"""A request's id, log line and trace, around the two passes and a stand-in for vLLM's handler."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server import routes
from server.observe import middlewares as observe
from tests.server.helpers import chat, noise, picture_part
from tests.server.passes.test_engine_faults import Handler, a_map, two_pass

SECRET = "the launch code is 0000"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Where this process's spans go; a process has one tracer provider for good."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


class Server:
    """The app with our middlewares and a chat route; `seen` are headers as vLLM would see them."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        handler = Handler(a_map(9.0))
        two_passes = two_pass(handler)
        app = FastAPI()
        routes.attach(app)

        @app.post("/v1/chat/completions")
        async def complete(body: dict[str, Any], raw_request: Request) -> Any:
            self.seen.append(dict(raw_request.headers))
            request = ChatCompletionRequest.model_validate(body)
            return await two_passes.create_chat_completion(request, raw_request)

        observe.install(app)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def post(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        """`body` to the chat route; underscores in header names are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._client.post("/v1/chat/completions", json=body, headers=named)


@pytest.fixture
def server() -> Server:
    return Server()


def question() -> dict[str, Any]:
    return chat(picture_part(noise(112, 112)), SECRET)


async def test_one_span_tree_with_both_passes(
    server: Server, exporter: InMemorySpanExporter
) -> None:
    exporter.clear()
    caller = f"00-{'a' * 32}-{'b' * 16}-01"
    await server.post(question(), traceparent=caller, X_Request_Id="abc")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans["/v1/chat/completions"]
    steps = ("pictures", "pass1", "crop", "pass2")
    assert spans.keys() == {*steps, "/v1/chat/completions"}
    assert {_parent(spans[step]) for step in steps} == {_id(root)}
    assert f"{_context(root).trace_id:x}" == "a" * 32
    assert _parent(root) == "b" * 16
    assert root.attributes is not None
    assert root.attributes["request.id"] == "abc"
    assert root.attributes["sdrpn.outcome"] == "region_found"
    assert root.attributes["http.response.status_code"] == 200
    starts = [spans[step].start_time or 0 for step in steps]
    assert starts == sorted(starts)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_the_span_of_a_pass_2_without_an_answer_ends(
    exporter: InMemorySpanExporter, error: BaseException
) -> None:
    class Failing(Handler):
        async def create_chat_completion(self, request: Any, raw_request: Any = None) -> Any:
            answer = await super().create_chat_completion(request)
            if len(self.requests) > 1:  # pass 2, and its repetition without crops
                raise error
            return answer

    exporter.clear()
    request = ChatCompletionRequest.model_validate(question())
    with pytest.raises(type(error)):
        await two_pass(Failing(a_map(9.0))).create_chat_completion(request)
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "pass2"]
    assert span.status.status_code is trace.StatusCode.ERROR


async def test_vllms_own_spans_hang_below_the_requests(
    server: Server, exporter: InMemorySpanExporter
) -> None:
    """vLLM takes the parent of its spans from the request's traceparent header."""
    exporter.clear()
    await server.post(question(), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    root = next(s for s in exporter.get_finished_spans() if s.name == "/v1/chat/completions")
    assert server.seen[0]["traceparent"].split("-")[1:3] == ["a" * 32, _id(root)]


async def test_a_request_keeps_its_id(server: Server) -> None:
    answer = await server.post(question(), X_Request_Id="mine-1.2:3")
    assert answer.headers["x-request-id"] == "mine-1.2:3"
    assert server.seen[0]["x-request-id"] == "mine-1.2:3", "vLLM names both passes after it"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b'])
async def test_a_request_without_a_plain_id_gets_one(server: Server, given: str) -> None:
    answer = await server.post(question(), X_Request_Id=given)
    made = answer.headers["x-request-id"]
    assert made.isalnum()
    assert made != given
    assert server.seen[0]["x-request-id"] == made


async def test_a_refused_request_has_an_id_and_a_line_too(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    lines = _listen(caplog)
    answer = await server.post(chat("hello", roi="on"), X_Request_Id="no-1")
    assert (answer.status_code, answer.headers["x-request-id"]) == (400, "no-1")
    assert [(line.status, line.request_id) for line in lines()] == [(400, "no-1")]


async def test_the_log_line_tells_figures_and_no_content(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    lines = _listen(caplog)
    await server.post(question(), X_Request_Id="log-1", Authorization="Bearer k3y")
    (line,) = lines()
    assert (line.request_id, line.status, line.regions) == ("log-1", 200, 1)
    assert line.prompt_tokens == 20
    assert "log-1" in line.getMessage()
    everything = str([vars(record) for record in caplog.records])
    for content in (SECRET, "base64", "k3y"):
        assert content not in everything


def _listen(caplog: pytest.LogCaptureFixture) -> Any:
    """Our logger's records; vLLM's does not propagate to the root, where caplog listens."""
    logger = logging.getLogger("vllm.sdrpn")
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "vllm.sdrpn")
    # Each once: whether the logger propagates as well depends on who configured logging before.
    return lambda: [r for r in dict.fromkeys(caplog.records) if hasattr(r, "status")]


def _context(span: ReadableSpan) -> Any:
    return span.get_span_context()


def _id(span: ReadableSpan) -> str:
    return f"{_context(span).span_id:016x}"


def _parent(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None
