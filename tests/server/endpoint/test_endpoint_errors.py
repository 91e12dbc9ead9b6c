"""Every error has one form, whatever its cause and route; Anthropic's on /v1/messages."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, data_url, encoded, noise, post

JSON = {"Content-Type": "application/json"}
POSTED = ["/v1/chat/completions", "/v1/regions", "/v1/responses", "/v1/messages", "/tokenize"]
BODIES = {
    "unparsable": b"{",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "deeply nested": b"[" * 100_000,
    "empty": b"",
    "no object": b"[1]",
}


def assert_is_error(answer: httpx.Response, path: str, status: int) -> None:
    assert answer.status_code == status, answer.text
    body: Any = answer.json()
    assert body["error"]["message"]
    if path.startswith("/v1/messages"):
        assert (body["type"], set(body["error"])) == ("error", {"type", "message"})
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", POSTED)
def test_a_body_that_is_no_request(endpoint: Endpoint, path: str, body: str) -> None:
    answer = httpx.post(endpoint.url + path, content=BODIES[body], headers=JSON, timeout=60)
    assert_is_error(answer, path, 400)


@pytest.mark.parametrize("path", [*POSTED, "/v1/completions", "/v1/messages/count_tokens"])
def test_a_wrong_method(endpoint: Endpoint, path: str) -> None:
    answer = httpx.get(endpoint.url + path, timeout=60)
    assert_is_error(answer, path, 405)
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/models/other", "/v1/responses/resp_x"])
def test_an_unknown_path_or_object_is_a_404(endpoint: Endpoint, path: str) -> None:
    assert_is_error(httpx.get(endpoint.url + path, timeout=60), path, 404)


def test_a_model_is_retrieved_by_its_name(client: openai.OpenAI) -> None:
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_head_on_a_health_route(endpoint: Endpoint, path: str) -> None:
    answer = httpx.head(endpoint.url + path, timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_trailing_slash_changes_nothing(endpoint: Endpoint) -> None:
    assert post(endpoint.url, chat("hello"), "/v1/chat/completions/").status_code == 200
    assert httpx.get(f"{endpoint.url}/v1/models/", timeout=60).json()["data"][0]["id"] == MODEL


@pytest.mark.parametrize(("roi", "skipped"), [(None, "detail_low"), (True, None)])
def test_detail_low_is_answered_from_the_base_view(
    endpoint: Endpoint, roi: bool | None, skipped: str | None
) -> None:
    picture = {"url": data_url(encoded(noise(300, 200))), "detail": "low"}
    body = chat({"type": "image_url", "image_url": picture}, "What is the code?")
    zoom = {"threshold": 0.0} if roi else None
    assert post(endpoint.url, {**body, "roi": zoom}).json()["roi"]["skipped"] == skipped
