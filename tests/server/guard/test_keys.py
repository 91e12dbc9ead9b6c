from __future__ import annotations

import httpx
import pytest

from tests.server.guard.apps import CHAT, Guarded

KEYS = ("first-key", "second-key")


async def get(path: str, **headers: str) -> httpx.Response:
    guarded = Guarded(keys=KEYS, keyless=frozenset({"/"}))
    async with guarded.client() as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/nothing", "/health/", CHAT])
async def test_every_path_needs_a_key(path: str) -> None:
    answer = await get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["type"] == "AuthenticationError"


@pytest.mark.parametrize("path", ["/health/live", "/"])
async def test_probes_and_keyless_paths_need_none(path: str) -> None:
    assert (await get(path)).status_code == 200


@pytest.mark.parametrize("key", KEYS)
async def test_each_key_is_taken_in_both_headers(key: str) -> None:
    assert (await get("/v1/models", Authorization=f"Bearer {key}")).status_code == 200
    assert (await get("/v1/models", Authorization=f"bearer {key}")).status_code == 200
    assert (await get("/v1/models", **{"x-api-key": key})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "first-key"},
        {"Authorization": "Basic first-key"},
        {"Authorization": "Bearer first-key second-key"},
        {"Authorization": "Bearer FIRST-KEY"},
        {"x-api-key": ""},
        {"x-api-key": "first-ke"},
        {"Authorization": "Bearer wrong", "x-api-key": "first-key"},
    ],
)
async def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    assert (await get("/v1/models", **headers)).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/health/live/../../v1/models",
        "/health/live/..%2f..%2fv1/models",
        "//v1/models",
        "/V1/models",
        "/health/live/",
        "/health/live%00",
        "/health/live;/v1/models",
        "/health%2flive/x",
    ],
)
async def test_no_spelling_of_a_path_passes_for_a_keyless_one(path: str) -> None:
    guarded = Guarded(keys=KEYS)
    transport = httpx.ASGITransport(app=guarded.app)
    async with httpx.AsyncClient(transport=transport) as client:
        request = client.build_request("GET", "http://guarded.test")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert (await client.send(request)).status_code == 401


@pytest.mark.parametrize("root_path", ["", "/health/live", "/health", "/v1"])
async def test_a_root_path_changes_nothing(root_path: str) -> None:
    guarded = Guarded(keys=KEYS)
    transport = httpx.ASGITransport(app=guarded.app, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://guarded.test") as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get(f"{root_path}/v1/models")).status_code == 401


async def test_without_keys_every_path_is_open() -> None:
    async with Guarded().client() as client:
        assert (await client.get("/v1/models")).status_code == 200


async def test_a_cors_preflight_needs_no_key() -> None:
    guarded = Guarded(keys=KEYS)
    preflight = {"Origin": "http://elsewhere.test", "Access-Control-Request-Method": "POST"}
    async with guarded.client() as client:
        assert (await client.options(CHAT, headers=preflight)).status_code != 401
        assert (await client.options(CHAT)).status_code == 401
