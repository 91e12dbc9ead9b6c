"""For everybody: axe finds nothing serious, a keyboard is enough, a phone is wide enough."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.server.playground.conftest import DESKTOP, PATIENCE_MS
from tests.server.playground.moves import answers_end, ask, said
from tests.server.playground.watch import Watch

PHONE: ViewportSize = {"width": 360, "height": 740}


async def serious_faults(page: Page) -> list[str]:
    results = await Axe().run(page)
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}"
        for fault in results.response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_axe_finds_no_serious_fault(
    browser: Browser, watch: Watch, scheme: str, viewport: ViewportSize
) -> None:
    async with await browser.new_context(
        viewport=viewport,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",  # no colour is measured halfway
    ) as context:
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", watch.console)
        page = await context.new_page()
        await page.goto(watch.url)
        await page.locator("#stage img").wait_for()
        assert await serious_faults(page) == []
        await ask(page)
        await page.click("#draw")  # with a box, an answer and figures on the screen
        assert await serious_faults(page) == []
        await page.evaluate("document.getElementById('key').showModal()")
        assert await serious_faults(page) == []
        overflow = "document.documentElement.scrollWidth - window.innerWidth"
        assert await page.evaluate(overflow) <= 0


async def test_a_keyboard_is_enough(page: Page, watch: Watch) -> None:
    reached = []
    await page.locator("body").press("Tab")
    for _ in range(20):
        name = "document.activeElement.id || document.activeElement.dataset.page"
        reached.append(await page.evaluate(name))
        if reached[-1] == "link":
            break
        await page.keyboard.press("Tab")
    pages = await page.locator("#pages button").count()
    assert reached[pages:] == ["file", "draw", "question", "ask", "curl", "python", "link"]

    await page.focus("#pages button:nth-child(2)")
    await page.keyboard.press("Enter")
    pressed = page.locator("#pages button:nth-child(2)")
    await expect(pressed).to_have_attribute("aria-pressed", "true")
    await page.focus("#question")
    await page.keyboard.press("Enter")
    await answers_end(page)
    assert await said(page, "zoomed") != ""
    await page.focus("#fade")
    await page.keyboard.press("Home")
    await expect(page.locator("#heat")).to_have_css("opacity", "0")

    await page.focus("#draw")
    await page.keyboard.press("Space")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await answers_end(page)
    assert any(chat["roi"] and "boxes" in chat["roi"] for chat in watch.chats)


async def test_dark_and_light_differ(page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(background)
    await page.emulate_media(color_scheme="dark")
    assert await page.evaluate(background) != light
