"""Any chat is answered, or refused with an error object, and the engine stays alive.

`FUZZ_EXAMPLES=5000 pytest tests/fuzz` sends ten thousand, five thousand to each of two routes.
"""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.conftest import Endpoint
from tests.fuzz.chats import chats
from tests.server.helpers import chat, noise, picture_part

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
ROUTES = ["/v1/chat/completions", "/v1/regions"]


@pytest.fixture(scope="module")
def http(endpoint: Endpoint) -> Any:
    with httpx.Client(base_url=endpoint.url, timeout=60.0) as client:
        yield client


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
@given(body=chats)
def test_no_chat_is_answered_with_a_500(
    endpoint: Endpoint, http: httpx.Client, route: str, body: Any
) -> None:
    answer = http.post(
        route, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]
    endpoint.check_alive()


def test_the_server_still_answers_after_fuzzing(http: httpx.Client) -> None:
    body = chat(picture_part(noise(100, 80)), "What is the code on the red tag?")
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["roi"]["image_size"] == [100, 80]
