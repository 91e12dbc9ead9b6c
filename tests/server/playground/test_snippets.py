"""The copied code runs as pasted, and asks what the page asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.server.playground.moves import ask_directly, drag, drop_picture
from tests.server.playground.pictures import page_file, page_image, page_question
from tests.server.playground.watch import Watch

FILE_NAME = """it's "my" $HOME `page`.png"""
QUESTION = """What's "the" $HOME `code` \\n on it? 100% é"""


async def copied(page: Page, button: str) -> str:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.click(f"#{button}")
    await expect(page.locator("#copied")).to_contain_text("copied")
    return str(await page.evaluate("navigator.clipboard.readText()"))


async def run(folder: Path, *command: str) -> str:
    """What the command prints, run in `folder` without any key of this shell's."""
    environment = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize(("button", "runner"), [("curl", "bash"), ("python", sys.executable)])
async def test_code_for_a_shipped_page_needs_nothing_but_the_server(
    page: Page, watch: Watch, tmp_path: Path, button: str, runner: str
) -> None:
    question = await page.locator("#question").input_value()
    name = await page.locator("#pages [aria-pressed=true]").get_attribute("data-page")
    output = await run(tmp_path, runner, "-c", await copied(page, button))
    shipped = Path("server/playground/static/pages") / f"{name}.png"
    direct = await ask_directly(watch, shipped.read_bytes(), question, True)
    assert direct.text in output
    assert str(direct.roi["regions"][0]["box"][2]) in output


@pytest.mark.parametrize(("button", "runner"), [("curl", "bash"), ("python", sys.executable)])
async def test_code_for_ones_own_picture_reads_its_file_whatever_its_name(
    page: Page, watch: Watch, tmp_path: Path, button: str, runner: str
) -> None:
    (tmp_path / FILE_NAME).write_bytes(page_file())
    await drop_picture(page, page_file(), FILE_NAME)
    await drag(page, [100, 100, 400, 500], page_image().size)
    await page.fill("#question", QUESTION)
    code = await copied(page, button)
    assert len(code) < 2000  # the picture is not in it
    output = await run(tmp_path, runner, "-c", code)
    assert "score': 1.0" in output.replace('"', "'").replace("score':1.0", "score': 1.0")
    if button == "curl":  # prints all of the answer: as many tokens only for the same question
        usage = json.loads(output)["usage"]
        label = await page.locator("#own").get_attribute("aria-label")
        assert label is not None
        box = [int(n) for n in label.split("pixels ")[1].split(".")[0].split(", ")]
        direct = await ask_directly(watch, page_file(), QUESTION, {"boxes": [box]})
        assert usage["prompt_tokens"] == direct.usage["prompt_tokens"]


async def test_a_key_is_named_in_the_code_and_never_written_out(page: Page) -> None:
    await page.evaluate("sessionStorage.setItem('sdrpn-api-key', 'very-secret')")
    for button in ("curl", "python"):
        code = await copied(page, button)
        assert "very-secret" not in code
        assert "SDRPN_API_KEY" in code


async def test_the_question_on_the_page_is_the_one_in_the_code(page: Page) -> None:
    await page.fill("#question", page_question())
    assert page_question() in await copied(page, "python")
