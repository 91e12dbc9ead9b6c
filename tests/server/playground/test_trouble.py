"""What goes wrong is told in words, and the page goes on working."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, Route, expect

from server.pictures.limits import PictureLimits
from tests.server.helpers import encoded
from tests.server.playground.moves import answers_end, ask, drop_picture, said
from tests.server.playground.pictures import page_file, page_image
from tests.server.playground.watch import Watch

CHATS = re.compile("/v1/chat/completions$")


async def test_a_picture_the_api_refuses(page: Page, watch: Watch) -> None:
    watch.refusals = True
    icon = encoded(page_image(), "ICO")  # which browsers show
    await drop_picture(page, icon, "page.ico", media_type="image/x-icon")
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("The server refused: not a picture in")
    await expect(page.locator("#plain .remark")).to_have_text("No answer.")
    await page.locator("#pages button").first.click()
    await expect(page.locator("#notice")).to_be_empty()
    await ask(page)
    assert await said(page, "zoomed") != ""


async def test_a_picture_of_too_many_bytes_is_not_even_sent(
    page: Page, watch: Watch, tmp_path: Path
) -> None:
    huge, fits = tmp_path / "huge.png", tmp_path / "fits.png"
    padding = bytes(PictureLimits.bytes - len(page_file()))
    fits.write_bytes(page_file() + padding)
    huge.write_bytes(page_file() + padding + b".")
    await page.set_input_files("#file", huge)
    await expect(page.locator("#notice")).to_contain_text("huge.png is too large: 20.0 MiB")
    await page.set_input_files("#file", fits)
    await expect(page.locator("#stage img")).to_have_attribute("alt", "Your picture fits.png")
    assert watch.chats == []


async def test_a_picture_of_too_many_pixels(page: Page, watch: Watch) -> None:
    watch.refusals = True
    width = PictureLimits.pixels // 1000 + 1
    await drop_picture(page, encoded(Image.new("1", (width, 1000), 1)))
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("too large for the server")


async def test_no_question(page: Page, watch: Watch) -> None:
    await page.fill("#question", "  ")
    await page.click("#ask")
    await expect(page.locator("#notice")).to_have_text("Type a question first.")
    await expect(page.locator("#question")).to_be_focused()
    assert watch.chats == []


async def test_a_server_out_of_reach(page: Page, watch: Watch) -> None:
    watch.refusals = True
    await ask(page)
    await page.context.set_offline(True)
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("cannot be reached")
    await page.context.set_offline(False)
    await ask(page)
    await expect(page.locator("#notice")).to_be_empty()
    assert await said(page, "zoomed") != ""


async def test_an_answer_that_breaks_off(page: Page) -> None:
    """The server's own stream, cut short on its way."""

    async def cut(route: Route) -> None:
        response = await route.fetch()
        events = (await response.text()).split("\n\n")
        await route.fulfill(response=response, body="\n\n".join(events[:2]) + "\n\n")

    await page.route(CHATS, cut)
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("broke off")
    await expect(page.locator("#zoomed")).to_have_attribute("data-state", "failed")


async def test_an_error_within_a_stream(page: Page) -> None:
    error = 'data: {"error": {"message": "the engine has lost heart", "code": 500}}\n\n'

    async def fail(route: Route) -> None:
        await route.fulfill(body=error, content_type="text/event-stream")

    await page.route(CHATS, fail)
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("the engine has lost heart")


async def test_a_busy_server_says_when_to_come_back(page: Page, watch: Watch) -> None:
    watch.refusals = True

    async def busy(route: Route) -> None:
        body = {"error": {"message": "too many requests at once", "code": 429}}
        await route.fulfill(status=429, headers={"Retry-After": "7"}, json=body)

    await page.route(CHATS, busy)
    await ask(page)
    await expect(page.locator("#notice")).to_contain_text("busy (too many requests at once)")
    await expect(page.locator("#notice")).to_contain_text("in 7 s")


async def leave_unanswered(_route: Route) -> None:
    """A request that waits in the network for as long as the page does."""


async def test_stop_ends_both_requests_and_the_next_question_works(page: Page) -> None:
    await page.route(CHATS, leave_unanswered)
    await page.click("#ask")
    await expect(page.locator("#stop")).to_be_enabled()
    async with page.expect_event("requestfailed"):
        await page.click("#stop")
    await answers_end(page)
    for card in ("plain", "zoomed"):
        await expect(page.locator(f"#{card} .remark")).to_have_text("Stopped.")
    await page.unroute(CHATS)
    await ask(page)
    assert await said(page, "zoomed") != ""


async def test_asking_twice_at_once_asks_once(page: Page, watch: Watch) -> None:
    await page.locator("#ask").dblclick()
    await answers_end(page)
    assert len(watch.chats) == 2  # without zoom, and with it


async def test_a_new_question_replaces_the_one_that_runs(page: Page, watch: Watch) -> None:
    """The first, slow on its way, writes nothing into the second's cards."""

    async def delay(route: Route) -> None:
        if "first" not in (route.request.post_data or ""):
            await route.continue_()

    await page.route(CHATS, delay)
    await page.fill("#question", "What is the first code?")
    await page.click("#ask")
    await expect(page.locator("#stop")).to_be_enabled()
    await ask(page, "What is the code on the red tag?")
    for card in ("plain", "zoomed"):
        await expect(page.locator(f"#{card}")).to_have_attribute("data-state", "done")
    await expect(page.locator("#notice")).to_be_empty()
