"""The shipped pages show what they were chosen for (demo/playground_pages.py)."""

from __future__ import annotations

import json
import re

from playwright.async_api import Page, expect

from server.playground import STATIC
from tests.server.playground.moves import answers_end, ask

PAGES = json.loads((STATIC / "pages" / "pages.json").read_text())


async def test_each_is_answered_wrong_without_zoom_and_right_with_it(page: Page) -> None:
    assert await page.locator("#pages button").count() == len(PAGES) >= 3
    for shipped in PAGES:
        await page.click(f"#pages [data-page={shipped['id']}]")
        await expect(page.locator("#question")).to_have_value(shipped["question"])
        await expect(page.locator(f"#stage img[alt*='{shipped['id']}']")).to_be_visible()
        await ask(page)
        await expect(page.locator("#plain")).to_have_attribute("data-state", "wrong")
        await expect(page.locator("#zoomed")).to_have_attribute("data-state", "right")


async def test_who_chooses_one_and_asks_at_once_is_answered_about_it(page: Page) -> None:
    await page.evaluate(
        """(id) => {
            document.querySelector(`#pages [data-page=${id}]`).click();
            document.getElementById("ask").click();
        }""",
        PAGES[1]["id"],
    )
    await answers_end(page)
    await expect(page.locator("#stage img")).to_have_attribute("alt", re.compile(PAGES[1]["id"]))
    await expect(page.locator("#zoomed")).to_have_attribute("data-state", "right")


def test_they_are_small() -> None:
    assert sum(file.stat().st_size for file in (STATIC / "pages").iterdir()) < 150_000
