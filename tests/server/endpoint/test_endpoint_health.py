from __future__ import annotations

import httpx
import openai

from tests.conftest import Endpoint


def test_a_serving_endpoint_is_live_and_ready(endpoint: Endpoint) -> None:
    live = httpx.get(f"{endpoint.url}/health/live", timeout=30.0)
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = httpx.get(f"{endpoint.url}/health/ready", timeout=30.0)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_vllms_own_routes_stay(endpoint: Endpoint, client: openai.OpenAI) -> None:
    assert httpx.get(f"{endpoint.url}/health", timeout=30.0).status_code == 200
    assert [model.id for model in client.models.list()] == ["sdrpn-demo"]
    paths = httpx.get(f"{endpoint.url}/openapi.json", timeout=30.0).json()["paths"]
    assert {"/v1/regions", "/health/live", "/health/ready", "/v1/completions"} <= set(paths)
