"""The playground's routes: what is public, what the headers promise, and switching it off."""

from __future__ import annotations

from argparse import Namespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.async_api import Page

from server import playground
from server.plugin import SdrpnEndpointPlugin
from tests.server.playground.moves import ask
from tests.server.playground.watch import Watch


@pytest.fixture
def server() -> TestClient:
    app = FastAPI()
    playground.attach(app)
    return TestClient(app)


def test_every_public_path_is_served_with_the_policy(server: TestClient) -> None:
    for path in playground.PUBLIC_PATHS:
        response = server.get(path)
        assert response.status_code == 200, path
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        again = server.get(path, headers={"If-None-Match": response.headers["ETag"]})
        assert again.status_code == 304


@pytest.mark.parametrize("path", ["/playground/../__init__.py", "/playground/%2e%2e/__init__.py"])
def test_nothing_outside_the_folder_is_served(server: TestClient, path: str) -> None:
    assert server.get(path).status_code == 404


async def test_the_page_loads_only_public_paths_and_the_api(page: Page, watch: Watch) -> None:
    await ask(page)
    theirs = {path for path in watch.paths if not path.startswith("/v1/")}
    assert theirs <= playground.PUBLIC_PATHS
    assert watch.paths - theirs == {"/v1/models", "/v1/chat/completions"}


@pytest.mark.parametrize(("setting", "status"), [("true", 200), ("false", 404)])
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, setting: str, status: int) -> None:
    monkeypatch.setenv("SDRPN_PLAYGROUND", setting)
    app = FastAPI()
    app.state.args = Namespace(api_key=None, allowed_origins=[])  # as vLLM leaves it
    SdrpnEndpointPlugin().attach_router(app)
    client = TestClient(app)
    assert client.get("/").status_code == status
    assert client.get("/playground/main.js").status_code == status
