"""A link opens the same example again: shipped page, question, box."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.server.playground.moves import answers_end, ask, drag, drawn_box, drop_picture, said
from tests.server.playground.pictures import page_file
from tests.server.playground.watch import Watch

QUESTION = "What is the code? #1 & 50% more"


async def test_the_address_opens_page_question_and_box_and_asks(page: Page, watch: Watch) -> None:
    await page.locator("#pages button").nth(1).click()
    await expect(page.locator("#pages button").nth(1)).to_have_attribute("aria-pressed", "true")
    natural = "image => [image.naturalWidth, image.naturalHeight]"
    size = tuple(await page.locator("#stage img").evaluate(natural))
    await drag(page, [100, 150, 500, 420], size)
    await ask(page, QUESTION)
    address = page.url
    box = await drawn_box(page, "#own", size)
    answers = [await said(page, card) for card in ("plain", "zoomed")]

    again = await page.context.new_page()
    await again.goto(address)
    await answers_end(again)
    await expect(again.locator("#pages button").nth(1)).to_have_attribute("aria-pressed", "true")
    await expect(again.locator("#question")).to_have_value(QUESTION)
    assert [round(c) for c in await drawn_box(again, "#own", size)] == [round(c) for c in box]
    assert [await said(again, card) for card in ("plain", "zoomed")] == answers
    assert watch.chats[0]["roi"] is False
    first, second = watch.chats[:2], watch.chats[2:]
    assert sorted(map(str, first)) == sorted(map(str, second))


async def test_the_link_button_copies_the_address(page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.click("#link")
    await expect(page.locator("#copied")).to_have_text("Link copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    await ask(page)
    assert copied == page.url


async def test_a_picture_of_ones_own_is_not_put_into_a_link(page: Page) -> None:
    await ask(page)
    assert "#page=" in page.url
    await drop_picture(page, page_file())
    await ask(page)
    assert "#" not in page.url
    await page.click("#link")
    await expect(page.locator("#notice")).to_contain_text("shipped pages only")


async def test_a_link_to_a_page_that_is_gone_says_so(page: Page, watch: Watch) -> None:
    other = await page.context.new_page()
    await other.goto(f"{watch.url}/#page=lost&q=Where%3F&box=1,2")
    await other.locator("#stage img").wait_for()  # there is something to go on with
    await expect(other.locator("#model")).to_have_text("sdrpn-demo")
    await expect(other.locator("#notice")).to_contain_text("not here: lost")
    assert watch.chats == []
