"""A client that hangs up, in pass 1, between the passes or in pass 2, leaves nothing running."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import chat, metric, noise, picture_part, post

QUESTION = "What is the code on the red tag?"


def wait_until_idle(url: str, within: float = 60.0) -> None:
    """Until the engine has no request left. Its gauges move only while it is stepping."""
    deadline = time.monotonic() + within
    while metric(url, "vllm:num_requests_running") + metric(url, "vllm:num_requests_waiting"):
        assert time.monotonic() < deadline, "requests are still in the engine"
        time.sleep(0.2)


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/regions"])
@pytest.mark.parametrize("patience", [0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_client_that_loses_patience(endpoint: Endpoint, route: str, patience: float) -> None:
    body = chat(
        picture_part(noise(1400, 1400, seed=int(patience * 1000))),
        QUESTION,
        roi={"threshold": 0.0, "base_tokens": 400, "crop_tokens": 400},
        max_tokens=2000,
        ignore_eos=True,
    )
    try:
        httpx.post(endpoint.url + route, json=body, timeout=httpx.Timeout(60, read=patience))
    except httpx.ReadTimeout:
        pass
    else:
        assert route == "/v1/regions", "2000 tokens cannot have been made that fast"
    wait_until_idle(endpoint.url)
    assert post(endpoint.url, chat(picture_part(noise(64, 64)), QUESTION)).status_code == 200


def test_a_client_that_leaves_in_the_middle_of_a_stream(endpoint: Endpoint) -> None:
    body = chat(
        picture_part(noise(896, 896, seed=21)),
        QUESTION,
        roi={"threshold": 0.0},
        max_tokens=3000,
        ignore_eos=True,
        stream=True,
    )
    before = metric(endpoint.url, "vllm:generation_tokens_total")
    url = f"{endpoint.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60.0) as answer:
        events = answer.iter_lines()
        assert '"roi"' in next(events)
    wait_until_idle(endpoint.url)
    assert metric(endpoint.url, "vllm:generation_tokens_total") - before < 2900
