"""A box of one's own: drawn with mouse, finger or keys, and asked with."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.server.playground.conftest import PATIENCE_MS
from tests.server.playground.moves import ask, ask_directly, drag, drawn_box, drop_picture, said
from tests.server.playground.pictures import page_file, page_image, page_question
from tests.server.playground.watch import Watch

BOX = [200, 300, 520, 610]


async def test_the_box_drawn_is_the_one_looked_at(page: Page, watch: Watch) -> None:
    await drop_picture(page, page_file())
    await ask(page, page_question())
    await drag(page, BOX, page_image().size)
    await expect(page.locator("#ask")).to_have_text("Ask with box")
    await ask(page)

    [sent] = next(chat["roi"]["boxes"] for chat in watch.chats[2:] if chat["roi"])
    assert sent == pytest.approx(BOX, abs=2)
    assert await drawn_box(page, "#own", page_image().size) == pytest.approx(sent, abs=1.5)
    direct = await ask_directly(watch, page_file(), page_question(), {"boxes": [sent]})
    assert await said(page, "zoomed") == direct.text
    shape = "canvas => [canvas.width, canvas.height]"
    crop = await page.locator("#zoomed canvas").evaluate(shape)
    assert crop == [sent[2] - sent[0], sent[3] - sent[1]]
    await expect(page.locator("#regions .region")).to_have_count(0)  # the model chose none


async def test_without_the_box_the_model_looks_for_itself_again(page: Page, watch: Watch) -> None:
    await drop_picture(page, page_file())
    await drag(page, BOX, page_image().size)
    await page.click("#undraw")
    await expect(page.locator("#own")).to_be_hidden()
    await ask(page, page_question())
    assert [chat["roi"] for chat in watch.chats] == [False, {"heatmap": True}]


async def test_keys_place_move_and_size_the_box(page: Page, watch: Watch) -> None:
    await drop_picture(page, page_file())
    await page.focus("#draw")
    await page.keyboard.press("Enter")
    own = page.locator("#own")
    await expect(own).to_be_focused()
    size = page_image().size
    start = await drawn_box(page, "#own", size)

    for key in ("ArrowLeft", "ArrowUp", "ArrowUp", "Shift+ArrowRight"):
        await page.keyboard.press(key)
    step = round(max(size) / 64)
    moved = await drawn_box(page, "#own", size)
    wanted = [start[0] - step, start[1] - 2 * step, start[2], start[3] - 2 * step]
    assert moved == pytest.approx(wanted, abs=2)
    label = await own.get_attribute("aria-label")
    assert label is not None
    assert ", ".join(str(round(corner)) for corner in moved)[:3] in label

    for _ in range(80):  # into the corner, and no further
        await page.keyboard.press("ArrowLeft")
    assert (await drawn_box(page, "#own", size))[0] == pytest.approx(0, abs=1)
    await page.keyboard.press("Delete")
    await expect(own).to_be_hidden()


async def test_a_finger_draws_once_told_to_and_scrolls_otherwise(
    browser: Browser, watch: Watch
) -> None:
    phone: ViewportSize = {"width": 390, "height": 844}
    async with await browser.new_context(viewport=phone, has_touch=True) as context:
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", watch.console)
        page = await context.new_page()
        await page.goto(watch.url)
        await page.locator("#stage img").wait_for()
        await swipe(page)
        await expect(page.locator("#own")).to_be_hidden()
        await page.tap("#draw")
        await expect(page.locator("#hint")).to_contain_text("finger")
        await swipe(page)
        await expect(page.locator("#own")).to_be_visible()
        await expect(page.locator("#stage")).not_to_have_class("stage drawing")


async def swipe(page: Page) -> None:
    """A finger goes over the picture, as the browser's own input would have it."""
    place = await page.locator("#stage img").bounding_box()
    assert place
    session = await page.context.new_cdp_session(page)

    async def touch(kind: str, share: float | None = None) -> None:
        points = []
        if share is not None:
            x, y = place["x"] + share * place["width"], place["y"] + share * place["height"]
            points = [{"x": x, "y": y}]
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await touch("touchStart", 0.3)
    await touch("touchMove", 0.5)
    await touch("touchMove", 0.7)
    await touch("touchEnd")
