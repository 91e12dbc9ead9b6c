"""A bad request is answered with OpenAI's error object, and the server keeps serving."""

from __future__ import annotations

import socket
from typing import Any

import openai
import pytest

from server.pictures.limits import PictureLimits
from tests.conftest import Endpoint
from tests.rpn_plugin.images.picture_files import png_claiming
from tests.server.helpers import MODEL, chat, data_url, encoded, noise, picture_part, post, user

QUESTION = "What is the code on the red tag?"
ROUTES = ["/v1/chat/completions", "/v1/regions"]


def url_part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def with_roi(roi: Any) -> dict[str, Any]:
    return chat(picture_part(noise(100, 80)), QUESTION, roi=roi)


def with_picture(url: str) -> dict[str, Any]:
    return chat(url_part(url), QUESTION)


WHOLE = encoded(noise(100, 80))

BAD = {
    "unknown roi key": (with_roi({"zoom": 2}), "roi.zoom"),
    "roi of another type": (with_roi("on"), "roi"),
    "threshold out of range": (with_roi({"threshold": 7}), "roi.threshold"),
    "a budget over the model's limit": (with_roi({"base_tokens": 10**6}), "roi.base_tokens"),
    "box outside the picture": (with_roi({"boxes": [[0, 0, 101, 80]]}), "roi.boxes"),
    "box inside out": (with_roi({"boxes": [[50, 0, 10, 80]]}), "roi.boxes"),
    "two hundred pictures": (chat(*[picture_part(noise(8, 8))] * 200, QUESTION), "messages"),
    "not a picture": (with_picture(data_url(b"hello")), "messages"),
    "broken base64": (with_picture("data:image/png;base64,@@@"), "messages"),
    "truncated picture": (with_picture(data_url(WHOLE[:-500])), "messages"),
    "an http URL": (with_picture("http://127.0.0.1:1/a.png"), "messages"),
    "a file URL": (with_picture("file:///etc/passwd"), "messages"),
    "a picture without a URL": (chat({"type": "image_url"}, QUESTION), "messages"),
    "a film": (
        chat({"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/"}}, QUESTION),
        "messages",
    ),
    "a picture in a system prompt": (
        {
            **chat(QUESTION),
            "messages": [
                {"role": "system", "content": "You read codes."},
                {"role": "developer", "content": [picture_part(noise(100, 80))]},
                user(QUESTION),
            ],
        },
        "messages",
    ),
    "a truncated picture's prompt": (
        {**with_roi(True), "truncate_prompt_tokens": 5},
        "truncate_prompt_tokens",
    ),
    "our own engine message": (
        {**with_roi(True), "kv_transfer_params": {"sdrpn": {"image": 99}}},
        "kv_transfer_params",
    ),
}


def assert_is_openai_error(body: Any, code: int, param: str) -> None:
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_400(endpoint: Endpoint, case: str, route: str) -> None:
    body, param = BAD[case]
    answer = post(endpoint.url, body, route)
    assert answer.status_code == 400
    assert_is_openai_error(answer.json(), 400, param)


@pytest.mark.parametrize(
    "url",
    [data_url(png_claiming(30_000, 30_000)), data_url(bytes(PictureLimits.bytes + 1))],
    ids=["pixels", "bytes"],
)
def test_too_large_is_a_413(endpoint: Endpoint, url: str) -> None:
    answer = post(endpoint.url, with_picture(url))
    assert answer.status_code == 413
    assert_is_openai_error(answer.json(), 413, "messages")


@pytest.mark.parametrize("stream", [False, True])
def test_the_official_client_raises_bad_request_error(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**with_picture("data:image/png;base64,@@@"), stream=stream)
    assert caught.value.param == "messages"
    assert "base64" in caught.value.message


@pytest.mark.parametrize("route", ROUTES)
def test_a_chat_longer_than_the_context_is_a_400(endpoint: Endpoint, route: str) -> None:
    body = chat(picture_part(noise(100, 80)), "tag " * 20_000)
    assert post(endpoint.url, body, route).status_code == 400


@pytest.mark.parametrize("route", ROUTES)
def test_an_unknown_model_is_a_404(endpoint: Endpoint, route: str) -> None:
    assert post(endpoint.url, {**with_roi(True), "model": "other"}, route).status_code == 404


@pytest.mark.parametrize("route", ROUTES)
def test_missing_messages_are_a_400(endpoint: Endpoint, route: str) -> None:
    assert post(endpoint.url, {"model": "sdrpn-demo"}, route).status_code == 400


def test_vllms_own_routes_fetch_no_url(endpoint: Endpoint) -> None:
    """`/v1/responses` passes by our picture checks; no media domain is allowed there."""
    with socket.create_server(("127.0.0.1", 0)) as bait:
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/a.png"
        part = {"type": "input_image", "detail": "auto", "image_url": url}
        body = {"model": MODEL, "input": [{"role": "user", "content": [part]}]}
        answer = post(endpoint.url, body, "/v1/responses")
        assert answer.status_code == 400
        bait.settimeout(0.5)
        with pytest.raises(TimeoutError):
            bait.accept()


def test_the_server_still_answers_after_bad_input(endpoint: Endpoint) -> None:
    for body, _ in BAD.values():
        post(endpoint.url, body)
    assert post(endpoint.url, with_roi(True)).status_code == 200
