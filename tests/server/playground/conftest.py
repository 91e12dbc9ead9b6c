"""A real Chromium, Debian's, and the playground open in it; every test watches what the page does.

After each test: nothing on the console, and no request but to the server that served the page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.conftest import Endpoint
from tests.server.playground.watch import Watch

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PATIENCE_MS = 180_000
"""An answer may take long on a busy machine; nothing is asserted about how long."""


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"no {CHROMIUM}: apt-get install chromium (requirements/system.txt)")
    async with async_playwright() as driver:
        expect.set_options(timeout=PATIENCE_MS)
        chromium = await driver.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=PATIENCE_MS
        )
        yield chromium
        await chromium.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser of its own for one test: no storage, no clipboard of another's, nothing moving."""
    async with await browser.new_context(viewport=DESKTOP, reduced_motion="reduce") as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture
def site(endpoint: Endpoint) -> str:
    """Where the playground is served."""
    return endpoint.url


@pytest.fixture
async def watch(site: str, context: BrowserContext) -> AsyncIterator[Watch]:
    """What the context's pages do; fails the test that made them do what they should not."""
    watch = Watch(site)
    context.on("request", watch.request)
    context.on("console", watch.console)
    context.on("weberror", lambda error: watch.faults.append(str(error.error)))
    yield watch
    watch.check()


@pytest.fixture
async def page(context: BrowserContext, watch: Watch) -> Page:
    """The playground, open, with its first shipped page on the stage."""
    page = await context.new_page()
    await page.goto(watch.url)
    await page.locator("#stage img").wait_for()
    return page
