from __future__ import annotations

import pytest

from server.guard.paths import is_open
from tests.server.guard.apps import Guarded


@pytest.mark.parametrize(
    "path",
    [
        "/scale_elastic_ep",
        "/is_scaling_elastic_ep",
        "/inference/v1/generate",
        "/inference/v1/abort_requests",
        "/kv_event_sources",
        "/sleep",
        "/wake_up",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/server_info",
        "/start_profile",
        "/update_weights",
        "/pause",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/chat/completions/render",
        "/v1/messages/render",
        "/v1/responses/render",
        "/v1/systemone",
        "/generative_scoring",
        "/v1/models/\x00",
        "/v1/chat/completions/",
        "//v1/chat/completions",
    ],
)
def test_what_is_for_operators_is_not_served(path: str) -> None:
    assert not is_open(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/regions",
        "/v1/models/Qwen/Qwen2.5-VL-7B-Instruct",
        "/v1/responses/resp_abc-1/cancel",
        "/playground/main.js",
        "/health/ready",
        "/metrics",
    ],
)
def test_what_is_for_callers_is(path: str) -> None:
    assert is_open(path)


async def test_a_closed_path_is_answered_like_one_that_does_not_exist() -> None:
    guarded = Guarded(closed=frozenset({"/metrics"}))
    async with guarded.client() as client:
        for path in ("/metrics", "/sleep", "/nothing"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert answer.json()["error"]["type"] == "NotFoundError"
