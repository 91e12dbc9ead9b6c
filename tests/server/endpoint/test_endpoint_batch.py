"""vLLM's batch route: many chats in one request, each zoomed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, metric, noise, picture_part, post, user

ROUTE = "/v1/chat/completions/batch"
QUESTION = "What is the code on the red tag?"
ZOOM = {"threshold": 0.0}


def batch(*chats: list[Any], **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": list(chats), "max_tokens": 4, "temperature": 0, **fields}


def picture_chat(width: int, height: int) -> list[Any]:
    return [user(picture_part(noise(width, height)), QUESTION)]


def boxes(report: dict[str, Any] | None) -> list[Any]:
    return [region["box"] for region in report["regions"]] if report else []


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text[:300]
    error = answer.json()["error"]
    assert error["code"] == 400
    return str(error["message"])


@pytest.mark.parametrize("roi", [ZOOM, False], ids=["on", "off"])
def test_a_chat_of_a_batch_is_answered_as_a_single_chat(endpoint: Endpoint, roi: Any) -> None:
    chats = [picture_chat(300, 200), picture_chat(200, 300), [user("What is the code?")]]
    together = post(endpoint.url, batch(*chats, roi=roi), ROUTE)
    assert together.status_code == 200, together.text
    assert "x-sdrpn-roi" not in together.headers, "there is no one report for all"
    choices = together.json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    prompt_tokens = 0
    for messages, choice in zip(chats, choices, strict=True):
        options = {} if messages is chats[2] else {"roi": roi}
        alone = post(endpoint.url, {**chat(), "messages": messages, **options}).json()
        assert choice["message"]["content"] == alone["choices"][0]["message"]["content"]
        assert boxes(choice["roi"]) == boxes(alone.get("roi"))
        prompt_tokens += alone["usage"]["prompt_tokens"]
    assert bool(boxes(choices[0]["roi"])) == bool(roi)
    assert together.json()["usage"]["prompt_tokens"] == prompt_tokens


def test_one_bad_picture_refuses_the_whole_batch(endpoint: Endpoint) -> None:
    broken = [user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "?")]
    answer = post(
        endpoint.url, batch(picture_chat(640, 480), broken, picture_chat(480, 640)), ROUTE
    )
    assert "picture" in refusal(answer)
    assert metric(endpoint.url, "sdrpn_requests_inflight") == 0
    assert post(endpoint.url, batch(picture_chat(300, 200)), ROUTE).status_code == 200


def test_a_batch_counts_as_many_requests_in_flight(endpoint: Endpoint) -> None:
    too_many = batch(*[[user("?")]] * 257)
    assert "257 chats; this server takes 256" in refusal(post(endpoint.url, too_many, ROUTE))
    assert metric(endpoint.url, "sdrpn_requests_inflight") == 0
