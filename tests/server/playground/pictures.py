"""A page of the demo for the tests, as a user would have it in a file."""

from __future__ import annotations

from functools import cache

from PIL import Image

from demo.pages import render_page
from tests.server.helpers import encoded

SEED = 4_000_037


@cache
def page_image() -> Image.Image:
    return render_page(SEED, 0).image


@cache
def page_file() -> bytes:
    return encoded(page_image())


@cache
def page_question() -> str:
    return render_page(SEED, 0).question
