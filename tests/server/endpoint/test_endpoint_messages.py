"""Anthropic's messages route through the official client, with regions and without."""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, encoded, noise, picture_part, post

QUESTION = "What is the code on the red tag?"
ZOOM = {"threshold": 0.0}
ROI = pytest.mark.parametrize("roi", [ZOOM, False], ids=["on", "off"])


@pytest.fixture(scope="module")
def claude(endpoint: Endpoint) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=endpoint.url, api_key="none", max_retries=0, timeout=120)


def picture(data: bytes) -> Any:
    encoded_data = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "image/png", "data": encoded_data}
    return {"type": "image", "source": source}


def body(data: bytes | None = None) -> Any:
    content = [picture(data or encoded(noise(300, 200))), {"type": "text", "text": QUESTION}]
    messages = [{"role": "user", "content": content}]
    return {"model": MODEL, "max_tokens": 6, "messages": messages}


def fields(roi: Any) -> Any:
    """What the client's signature has no place for."""
    return {"roi": roi, "temperature": 0}


@ROI
def test_the_answer_is_that_of_a_chat(
    claude: anthropic.Anthropic, endpoint: Endpoint, roi: Any
) -> None:
    answer = claude.messages.with_raw_response.create(**body(), extra_body=fields(roi))
    report = json.loads(answer.headers["x-sdrpn-roi"])
    same = post(
        endpoint.url, chat(picture_part(noise(300, 200)), QUESTION, roi=roi, max_tokens=6)
    ).json()
    (block,) = answer.parse().content
    assert block.type == "text"
    assert block.text == same["choices"][0]["message"]["content"]
    assert report["regions"] == same["roi"]["regions"]
    assert bool(report["regions"]) == bool(roi)


@ROI
def test_a_stream(claude: anthropic.Anthropic, roi: Any) -> None:
    whole = claude.messages.create(**body(), extra_body=fields(roi))
    with claude.messages.stream(**body(), extra_body=fields(roi)) as stream:
        assert stream.get_final_text() == whole.content[0].text
        assert "x-sdrpn-roi" in stream.response.headers


@pytest.mark.parametrize(
    "wrong",
    [
        body(b"hello"),
        {**body(), "roi": {"zoom": 1}},
        {
            **body(),
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "url", "url": "http://127.0.0.1:1/a.png"},
                        }
                    ],
                }
            ],
        },
    ],
    ids=["no picture", "unknown key", "a URL"],
)
def test_bad_input_is_an_error_in_anthropics_format(endpoint: Endpoint, wrong: Any) -> None:
    answer = post(endpoint.url, wrong, "/v1/messages")
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["message"]


@ROI
def test_tokens_of_pictures_are_those_that_an_answer_costs(endpoint: Endpoint, roi: Any) -> None:
    request = {**body(encoded(noise(310, 200))), **fields(roi)}
    counted = post(endpoint.url, request, "/v1/messages/count_tokens").json()["input_tokens"]
    usage = post(endpoint.url, request, "/v1/messages").json()["usage"]
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert counted == sum(usage.get(part) or 0 for part in parts)
    chatted = chat(picture_part(noise(310, 200)), QUESTION, roi=roi)
    tokenized = post(endpoint.url, chatted, "/tokenize").json()
    answered = post(endpoint.url, chatted).json()
    assert tokenized["count"] == answered["usage"]["prompt_tokens"]


def test_tokens_of_text_are_counted(endpoint: Endpoint) -> None:
    text = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    counted = post(endpoint.url, text, "/v1/messages/count_tokens")
    assert counted.json()["input_tokens"] > 0
