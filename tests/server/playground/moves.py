"""What people do with the playground, and what they see there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import httpx
from playwright.async_api import Page, expect

from tests.server.helpers import MODEL, data_url
from tests.server.playground.watch import Watch

ENDED = ("done", "right", "wrong", "failed", "stopped")


async def drop(page: Page, data: bytes, name: str, media_type: str = "image/png") -> None:
    """Drops a file on the page."""
    transfer = await page.evaluate_handle(
        """([data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            return transfer;
        }""",
        [base64.b64encode(data).decode(), name, media_type],
    )
    await page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    await page.dispatch_event("body", "drop", {"dataTransfer": transfer})


async def drop_picture(page: Page, data: bytes, name: str = "mine.png", **kind: str) -> None:
    """Drops a picture and waits until it is on the stage."""
    await drop(page, data, name, **kind)
    await expect(page.locator("#stage img")).to_have_attribute("alt", f"Your picture {name}")


async def ask(page: Page, question: str | None = None) -> None:
    """Asks and waits for both answers to end."""
    if question is not None:
        await page.fill("#question", question)
    await page.click("#ask")
    await answers_end(page)


async def answers_end(page: Page) -> None:
    """Waits until both cards are in one of the states in ENDED, and nothing runs."""
    for card in ("#plain", "#zoomed"):
        await page.locator(",".join(f'{card}[data-state="{state}"]' for state in ENDED)).wait_for()
    await expect(page.locator("#stop")).to_be_disabled()


async def said(page: Page, card: str) -> str:
    """The answer on the card `plain` or `zoomed`."""
    return await page.locator(f"#{card} .said").inner_text()


async def drawn_box(page: Page, selector: str, size: tuple[int, int]) -> list[float]:
    """Where a frame lies on the screen, in pixels of the picture of `size` below it."""
    frame = await page.locator(selector).bounding_box()
    picture = await page.locator("#stage img").bounding_box()
    assert frame
    assert picture
    across, down = size[0] / picture["width"], size[1] / picture["height"]
    x0, y0 = (frame["x"] - picture["x"]) * across, (frame["y"] - picture["y"]) * down
    return [x0, y0, x0 + frame["width"] * across, y0 + frame["height"] * down]


async def drag(page: Page, box: list[int], size: tuple[int, int]) -> None:
    """Draws `box` (pixels of the picture of `size`) with the mouse."""
    picture = await page.locator("#stage img").bounding_box()
    assert picture

    def at(x: int, y: int) -> tuple[float, float]:
        return (
            picture["x"] + x / size[0] * picture["width"],
            picture["y"] + y / size[1] * picture["height"],
        )

    await page.mouse.move(*at(box[0], box[1]))
    await page.mouse.down()
    await page.mouse.move(*at((box[0] + box[2]) // 2, (box[1] + box[3]) // 2))
    await page.mouse.move(*at(box[2], box[3]))
    await page.mouse.up()


@dataclass(frozen=True)
class Direct:
    """The API's own word, asked without the page."""

    text: str
    roi: dict[str, Any]
    usage: dict[str, Any]


async def ask_directly(watch: Watch, picture: bytes, question: str, roi: Any) -> Direct:
    """The API's answer to the question the page asks."""
    content = [
        {"type": "image_url", "image_url": {"url": data_url(picture)}},
        {"type": "text", "text": question},
    ]
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_completion_tokens": 512,
        "roi": roi,
    }
    async with httpx.AsyncClient(timeout=120.0) as http:
        response = await http.post(f"{watch.url}/v1/chat/completions", json=body)
    answer = response.raise_for_status().json()
    text = (answer["choices"][0]["message"]["content"] or "").strip()
    return Direct(text, answer["roi"], answer["usage"])
