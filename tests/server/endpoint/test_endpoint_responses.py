"""The Responses API through the official client, with regions and without."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, data_url, encoded, noise, picture_part, post

QUESTION = "What is the code on the red tag?"
ZOOM = {"threshold": 0.0}
ROI = pytest.mark.parametrize("roi", [ZOOM, False], ids=["on", "off"])


def items(size: tuple[int, int] = (300, 200)) -> Any:
    picture = {
        "type": "input_image",
        "image_url": data_url(encoded(noise(*size))),
        "detail": "auto",
    }
    text = {"type": "input_text", "text": QUESTION}
    return [{"role": "user", "content": [picture, text]}]


def create(client: openai.OpenAI, roi: Any, **fields: Any) -> Any:
    fields = {"input": items(), "max_output_tokens": 16, "temperature": 0, **fields}
    return client.responses.with_raw_response.create(model=MODEL, extra_body={"roi": roi}, **fields)


def report(answer: Any) -> Any:
    return json.loads(answer.headers["x-sdrpn-roi"])


@ROI
def test_the_answer_is_that_of_a_chat(client: openai.OpenAI, endpoint: Endpoint, roi: Any) -> None:
    answer = create(client, roi)
    same = post(
        endpoint.url, chat(picture_part(noise(300, 200)), QUESTION, roi=roi, max_tokens=16)
    ).json()
    assert answer.parse().output_text == same["choices"][0]["message"]["content"]
    assert answer.parse().usage.input_tokens == same["usage"]["prompt_tokens"]
    assert report(answer)["regions"] == same["roi"]["regions"]
    assert bool(report(answer)["regions"]) == bool(roi)


def test_a_closed_gate(client: openai.OpenAI) -> None:
    roi = report(create(client, {**ZOOM, "gate": {"max_confidence": 0.0}}))
    assert (roi["skipped"], roi["regions"]) == ("gate", [])
    assert 0 < roi["confidence"] <= 1


@ROI
def test_a_stream(client: openai.OpenAI, roi: Any) -> None:
    whole = create(client, roi).parse().output_text
    answer = create(client, roi, stream=True)
    assert bool(report(answer)["regions"]) == bool(roi)
    deltas = [event.delta for event in answer.parse() if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole


def test_text_alone_is_untouched(client: openai.OpenAI) -> None:
    answer = client.responses.with_raw_response.create(
        model=MODEL, input="hello", max_output_tokens=16
    )
    assert "x-sdrpn-roi" not in answer.headers


@pytest.mark.parametrize(
    "picture",
    [
        {"type": "input_image", "image_url": "http://127.0.0.1:1/a.png", "detail": "auto"},
        {"type": "input_image", "image_url": data_url(b"hello"), "detail": "auto"},
        {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        {"type": "input_file", "file_id": "file-1"},
    ],
)
def test_pictures_are_checked_as_in_a_chat(endpoint: Endpoint, picture: Any) -> None:
    body = {"model": MODEL, "input": [{"role": "user", "content": [picture]}]}
    answer = post(endpoint.url, body, "/v1/responses")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"
    assert "messages" not in answer.json()["error"]["message"]
    assert "image_url part" not in answer.json()["error"]["message"]


def test_a_picture_in_a_tools_output(endpoint: Endpoint) -> None:
    call = {
        "type": "function_call",
        "call_id": "call_1",
        "name": "photograph",
        "arguments": "{}",
    }
    picture = items((120, 90))[0]["content"][0]
    output = {"type": "function_call_output", "call_id": "call_1", "output": [picture]}
    body = {
        "model": MODEL,
        "input": [{"role": "user", "content": QUESTION}, call, output],
        "roi": ZOOM,
        "max_output_tokens": 16,
    }
    answer = post(endpoint.url, body, "/v1/responses")
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["x-sdrpn-roi"])["image_size"] == [120, 90]
