"""The endpoint's own figures on /metrics, beside vLLM's."""

from __future__ import annotations

from typing import Any

import pytest

from server.api.outcomes import Outcome
from tests.conftest import Endpoint
from tests.server.helpers import MODEL, chat, metric, noise, picture_part, post

MAX_MODEL_LEN = 4096
QUESTION = "What is the code on the red tag?"


@pytest.mark.parametrize(
    ("outcome", "roi"),
    [
        ("region_found", {"threshold": 0.0}),
        ("no_region", {"threshold": 1.0}),
        ("gated", {"threshold": 0.0, "gate": {"min_peak": 1.0}}),
        ("boxes_given", {"boxes": [[0, 0, 50, 40]]}),
        ("off", False),
        ("rejected", {"unknown": 1}),
    ],
)
def test_requests_are_counted_by_outcome(endpoint: Endpoint, outcome: str, roi: Any) -> None:
    before = _outcomes(endpoint)
    post(endpoint.url, chat(picture_part(noise(100, 80)), QUESTION, roi=roi))
    post(endpoint.url, chat(picture_part(noise(100, 80)), QUESTION, roi=roi), "/v1/regions")
    after = _outcomes(endpoint)
    assert {o: after[o] - before[o] for o in after if after[o] != before[o]} == {outcome: 2}


def test_a_chat_that_fits_without_its_crop_is_answered_and_counted(endpoint: Endpoint) -> None:
    """The text leaves room for less than a crop."""

    def long_chat(words: int, roi: Any) -> dict[str, Any]:
        return chat(picture_part(noise(300, 200)), "red " * words + QUESTION, roi=roi)

    def prompt_tokens(words: int) -> int:
        return int(post(endpoint.url, long_chat(words, False), "/tokenize").json()["count"])

    shortest = prompt_tokens(0)
    per_word = (prompt_tokens(100) - shortest) / 100
    words = int((MAX_MODEL_LEN - shortest - 4) / per_word)
    before = _outcomes(endpoint)
    answer = post(endpoint.url, long_chat(words, {"threshold": 0.0, "crop_tokens": 64}))
    after = _outcomes(endpoint)
    assert answer.status_code == 200, answer.text
    report = answer.json()["roi"]
    assert (report["skipped"], report["regions"]) == ("context_length", [])
    assert answer.json()["usage"]["prompt_tokens"] > MAX_MODEL_LEN - 64
    assert {o: after[o] - before[o] for o in after if after[o] != before[o]} == {"crops_refused": 1}


def test_text_only_chats_are_counted(endpoint: Endpoint) -> None:
    before = _outcomes(endpoint)["text_only"]
    post(endpoint.url, chat("hello"))
    assert _outcomes(endpoint)["text_only"] == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_each_step_of_a_chat_is_timed_once(endpoint: Endpoint, stream: bool) -> None:
    steps = ("pictures_seconds", "pass1_seconds", "rpn_seconds", "pass2_seconds", "crop_area_share")
    before = {step: metric(endpoint.url, f"sdrpn_{step}_count") for step in steps}
    body = chat(picture_part(noise(400, 300)), QUESTION, roi={"threshold": 0.0}, stream=stream)
    assert post(endpoint.url, body).status_code == 200
    moved = {step: metric(endpoint.url, f"sdrpn_{step}_count") - before[step] for step in steps}
    assert moved == dict.fromkeys(steps, 1.0)


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_counted_as_chats_are(endpoint: Endpoint, stream: bool) -> None:
    counts = ("pass1_seconds_count", "pass2_seconds_count", "zoom_extra_cost_ratio_count")
    before = {name: metric(endpoint.url, f"sdrpn_{name}") for name in counts}
    read = metric(endpoint.url, "sdrpn_prompt_tokens_sum", **{"pass": "2"})
    picture = picture_part(noise(400, 300, seed=1))["image_url"]["url"]
    content = [
        {"type": "input_image", "image_url": picture, "detail": "auto"},
        {"type": "input_text", "text": QUESTION},
    ]
    body = {"model": MODEL, "input": [{"role": "user", "content": content}], "stream": stream}
    body |= {"roi": {"threshold": 0.0}, "max_output_tokens": 16, "temperature": 0}
    answer = post(endpoint.url, body, "/v1/responses")
    assert answer.status_code == 200
    moved = {name: metric(endpoint.url, f"sdrpn_{name}") - before[name] for name in counts}
    assert moved == dict.fromkeys(counts, 1.0)
    tokens = metric(endpoint.url, "sdrpn_prompt_tokens_sum", **{"pass": "2"}) - read
    assert f'"input_tokens":{tokens:.0f},' in answer.text


def test_the_crop_area_share_is_that_of_the_box(endpoint: Endpoint) -> None:
    before = metric(endpoint.url, "sdrpn_crop_area_share_sum")
    body = chat(picture_part(noise(400, 300)), QUESTION, roi={"boxes": [[0, 0, 200, 150]]})
    post(endpoint.url, body)
    assert metric(endpoint.url, "sdrpn_crop_area_share_sum") - before == pytest.approx(0.25)


def _outcomes(endpoint: Endpoint) -> dict[str, float]:
    return {o: metric(endpoint.url, "sdrpn_requests_total", outcome=o) for o in Outcome}
