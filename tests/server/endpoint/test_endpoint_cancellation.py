"""The engine stops work for a client that disconnects: in pass 1, in pass 2 or between them."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.conftest import Endpoint
from tests.server.helpers import chat, metric, noise, picture_part, post

QUESTION = "What is the code on the red tag?"


TOKENS = 3000
"""What an abandoned chat would have made: many seconds' worth."""


def generated(url: str) -> float:
    return metric(url, "vllm:generation_tokens_total")


def wait_until_idle(url: str, within: float = 60.0) -> None:
    """Until the engine has no request left. Its gauges move only while it is stepping."""
    deadline = time.monotonic() + within
    while metric(url, "vllm:num_requests_running") + metric(url, "vllm:num_requests_waiting"):
        assert time.monotonic() < deadline, "requests are still in the engine"
        time.sleep(0.2)


@pytest.mark.parametrize("patience", [0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_a_client_that_times_out(endpoint: Endpoint, patience: float) -> None:
    body = chat(
        picture_part(noise(1400, 1400, seed=int(patience * 1000))),
        QUESTION,
        roi={"threshold": 0.0, "base_tokens": 400, "crop_tokens": 400},
        max_tokens=TOKENS,
        ignore_eos=True,
    )
    before = generated(endpoint.url)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{endpoint.url}/v1/chat/completions",
            json=body,
            timeout=httpx.Timeout(60, read=patience),
        )
    # A whole other chat, two passes long, gives the abandoned one time to show it lives on.
    other = chat(picture_part(noise(64, 64)), QUESTION, roi={"threshold": 0.0})
    assert post(endpoint.url, other).status_code == 200
    wait_until_idle(endpoint.url)
    assert generated(endpoint.url) - before < TOKENS / 2


def test_a_client_that_disconnects_during_a_stream(endpoint: Endpoint) -> None:
    body = chat(
        picture_part(noise(896, 896, seed=21)),
        QUESTION,
        roi={"threshold": 0.0},
        max_tokens=TOKENS,
        ignore_eos=True,
        stream=True,
    )
    before = generated(endpoint.url)
    url = f"{endpoint.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60.0) as answer:
        events = answer.iter_lines()
        assert '"roi"' in next(events)
    wait_until_idle(endpoint.url)
    assert generated(endpoint.url) - before < TOKENS / 2
