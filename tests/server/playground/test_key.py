"""A server with a key: the page loads without one, asks for it, keeps it in its tab, sends it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from playwright.async_api import Page, expect

from server import playground
from server.guard.keys import KeyGuard
from tests.conftest import Endpoint
from tests.server.playground.moves import ask, said
from tests.server.playground.watch import Watch

KEY = "correct-horse"


@pytest.fixture(scope="module")
def locked(endpoint: Endpoint) -> Iterator[str]:
    """The shared endpoint's API behind the server's own key guard, at an address of its own."""
    app = FastAPI()
    playground.attach(app)
    api = httpx.AsyncClient(base_url=endpoint.url, timeout=120.0)

    @app.api_route("/v1/{route:path}", methods=["GET", "POST"])
    async def forward(request: Request) -> StreamingResponse:
        onward = api.build_request(
            request.method,
            request.url.path,
            content=await request.body(),
            headers={"Content-Type": request.headers.get("Content-Type", "")},
        )
        answer = await api.send(onward, stream=True)
        return StreamingResponse(
            answer.aiter_raw(), answer.status_code, media_type=answer.headers["Content-Type"]
        )

    guarded = KeyGuard(app, [KEY], playground.PUBLIC_PATHS)
    # Listens from here on: who comes before uvicorn has started waits and is not refused.
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def site(locked: str) -> str:
    return locked


async def test_the_key_is_asked_for_once_and_sent(page: Page, watch: Watch) -> None:
    watch.refusals = True
    dialog = page.locator("#key")
    await expect(dialog).to_be_visible()
    await page.fill("#key-value", "wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#key-why")).to_contain_text("refused")
    await page.fill("#key-value", KEY)
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#model")).to_have_text("sdrpn-demo")
    await ask(page)
    assert await said(page, "zoomed") != ""

    stored = "[localStorage.length, document.cookie, sessionStorage.getItem('sdrpn-api-key')]"
    assert await page.evaluate(stored) == [0, "", KEY]
    await page.reload()
    await expect(page.locator("#model")).to_have_text("sdrpn-demo")
    await expect(dialog).to_be_hidden()


async def test_without_a_key_the_page_says_so_and_asks_again_later(
    page: Page, watch: Watch
) -> None:
    watch.refusals = True
    await expect(page.locator("#key")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("#notice")).to_contain_text("only with an API key")
    await page.click("#ask")
    await expect(page.locator("#key")).to_be_visible()
