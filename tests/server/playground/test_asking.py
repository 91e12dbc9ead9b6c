"""A picture is brought, a question asked: the page shows what the API says, drawn to scale."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Page, expect

from tests.server.playground.moves import ask, ask_directly, drawn_box, drop, drop_picture, said
from tests.server.playground.pictures import page_file, page_image, page_question
from tests.server.playground.watch import Watch


async def test_regions_crop_heat_and_answers_are_the_apis(page: Page, watch: Watch) -> None:
    await drop_picture(page, page_file())
    await ask(page, page_question())

    base = await ask_directly(watch, page_file(), page_question(), False)
    zoomed = await ask_directly(watch, page_file(), page_question(), {"heatmap": True})
    assert await said(page, "plain") == base.text
    assert await said(page, "zoomed") == zoomed.text

    [region] = zoomed.roi["regions"]
    drawn = await drawn_box(page, "#regions .region", page_image().size)
    assert drawn == pytest.approx(region["box"], abs=1.5)
    await expect(page.locator("#regions .region")).to_have_text(f"{region['score']:.2f}")

    # The likelier a cell, the less of the picture shows through the heat on it.
    heat = np.asarray(await canvas(page, "#heat"))[..., 3]
    assert heat.shape == tuple(zoomed.roi["grid"])
    assert heat == pytest.approx(255 * 0.85 * np.sqrt(zoomed.roi["heatmap"]), abs=6)

    x0, y0, x1, y1 = region["box"]
    crop = np.asarray(page_image().crop((x0, y0, x1, y1)), dtype=int)
    assert np.abs((await pixels(page, "#zoomed canvas")).astype(int) - crop).max() <= 2


async def pixels(page: Page, selector: str) -> np.ndarray:
    return np.asarray((await canvas(page, selector)).convert("RGB"))


async def canvas(page: Page, selector: str) -> Image.Image:
    """What a canvas holds, in its own pixels."""
    url = await page.locator(selector).evaluate("canvas => canvas.toDataURL()")
    return Image.open(BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA")


async def test_the_base_views_pane_shows_less_of_the_same_place(page: Page) -> None:
    await ask(page)
    before, after = await pixels(page, "#plain canvas"), await pixels(page, "#zoomed canvas")
    assert before.shape[1] < after.shape[1] / 2
    assert np.abs(before.mean((0, 1)) - after.mean((0, 1))).max() < 4


async def test_costs_are_those_of_the_responses(page: Page, watch: Watch) -> None:
    await drop_picture(page, page_file())
    await ask(page, page_question())
    base = await ask_directly(watch, page_file(), page_question(), False)
    zoomed = await ask_directly(watch, page_file(), page_question(), True)

    first, second = zoomed.roi["pass1_usage"]["prompt_tokens"], zoomed.usage["prompt_tokens"]
    assert await cells(page, "pass1", "tokens") == ["", str(first)]
    assert await cells(page, "answer", "tokens") == [
        str(base.usage["prompt_tokens"]),
        str(second),
    ]
    assert (await cells(page, "total", "tokens"))[1] == str(first + second)
    cached = [int(c) for c in await cells(page, "answer", "cached")]
    assert cached[1] > 0  # pass 1 left the base view in the cache
    for step in ("pictures", "pass1", "rpn", "crop", "answer", "total"):
        assert float((await cells(page, step, "ms"))[1]) >= 0
    steps = [
        float((await cells(page, s, "ms"))[1]) for s in ("pictures", "pass1", "crop", "answer")
    ]
    assert sum(steps) == pytest.approx(float((await cells(page, "total", "ms"))[1]), abs=4)


async def cells(page: Page, step: str, column: str) -> list[str]:
    """The figures of a step, without and with zoom."""
    texts = await page.locator(f"#costs tr.{step} td").all_inner_texts()
    at = ["tokens", "cached", "ms"].index(column)
    return [texts[at], texts[at + 3]]


async def test_the_slider_fades_the_heat_map(page: Page) -> None:
    await expect(page.locator("#fade")).to_be_disabled()  # no map yet
    await ask(page)
    await page.locator("#fade").fill("0")
    await expect(page.locator("#heat")).to_have_css("opacity", "0")
    await page.locator("#fade").fill("100")
    await expect(page.locator("#heat")).to_have_css("opacity", "1")


async def test_both_answers_stream_at_the_same_time(page: Page, watch: Watch) -> None:
    await page.evaluate(
        """() => {
            window.states = [];
            const note = ({target, oldValue}) => window.states.push(`${target.id} ${oldValue}`);
            const observer = new MutationObserver((records) => records.forEach(note));
            for (const card of document.querySelectorAll(".card"))
                observer.observe(card, {attributeFilter: ["data-state"], attributeOldValue: true});
        }"""
    )
    await ask(page)
    left = await page.evaluate("window.states")  # the states the cards left, in order
    first_word = min(left.index(f"{card} waiting") for card in ("plain", "zoomed"))
    assert {"plain idle", "zoomed idle"} <= set(left[:first_word])
    assert {"plain streaming", "zoomed streaming"} <= set(left)
    assert all(chat["stream"] for chat in watch.chats)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_events_are_whole_wherever_the_network_cuts_them(page: Page, size: int) -> None:
    events = await page.evaluate(
        """async (size) => {
            const text = 'data: {"é": 1}\\n\\n: ping\\n\\ndata: two\\r\\n\\r\\ndata: [DONE]\\n\\n';
            const bytes = new TextEncoder().encode(text);
            const body = new ReadableStream({
                start(stream) {
                    for (let at = 0; at < bytes.length; at += size)
                        stream.enqueue(bytes.slice(at, at + size));
                    stream.close();
                },
            });
            const { serverSentEvents } = await import("/playground/events.js");
            const events = [];
            for await (const event of serverSentEvents(body)) events.push(event);
            return events;
        }""",
        size,
    )
    assert events == ['{"é": 1}', "two", "[DONE]"]


async def test_a_picture_can_be_chosen_or_pasted(page: Page, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.png"
    chosen.write_bytes(page_file())
    await page.set_input_files("#file", chosen)
    await expect(page.locator("#stage img")).to_have_attribute("alt", "Your picture chosen.png")
    await page.evaluate(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
            document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(page_file()).decode(),
    )
    await expect(page.locator("#stage img")).to_have_attribute("alt", "Your picture pasted.png")


async def test_a_new_picture_clears_what_belonged_to_the_old(page: Page) -> None:
    await ask(page)
    await expect(page.locator("#regions .region")).to_have_count(1)
    await drop_picture(page, page_file())
    await expect(page.locator("#regions .region")).to_have_count(0)
    await expect(page.locator("#heat")).to_be_hidden()
    assert await said(page, "zoomed") == ""


async def test_a_picture_held_sideways_is_shown_and_cropped_upright(
    page: Page, watch: Watch
) -> None:
    """The file's pixels lie on their side; its EXIF orientation says so."""
    upright = page_image()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    file = BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    await drop_picture(page, file.getvalue(), "held.jpg", media_type="image/jpeg")
    await ask(page, page_question())

    direct = await ask_directly(watch, file.getvalue(), page_question(), True)
    assert tuple(direct.roi["image_size"]) == upright.size
    x0, y0, x1, y1 = direct.roi["regions"][0]["box"]
    drawn = await drawn_box(page, "#regions .region", upright.size)
    assert drawn == pytest.approx([x0, y0, x1, y1], abs=1.5)
    crop = np.asarray(upright.crop((x0, y0, x1, y1)), dtype=int)
    assert np.abs((await pixels(page, "#zoomed canvas")).astype(int) - crop).mean() < 3
    await expect(page.locator("#notice")).to_be_empty()


async def test_a_file_that_is_no_picture_is_refused_in_words(page: Page) -> None:
    before = await page.locator("#stage img").get_attribute("alt")
    await drop(page, b"to whom it may concern", "letter.txt", "text/plain")
    await expect(page.locator("#notice")).to_contain_text("letter.txt is not a picture")
    assert await page.locator("#stage img").get_attribute("alt") == before
