"""Pages for load: unique unless asked otherwise, and real pictures."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from loadtests.pages import SIZES, Format, Pages, draw


def test_no_page_is_sent_twice() -> None:
    pages = Pages()
    sent = [pages.next((160, 120)).data for _ in range(40)]
    assert len(set(sent)) == 40


def test_two_sources_do_not_send_the_same_pages() -> None:
    assert Pages().next((160, 120)).data != Pages().next((160, 120)).data


def test_repeats_are_sent_as_often_as_asked() -> None:
    pages = Pages(repeats=0.5, seed=1)
    sent = [pages.next((64, 64)).data for _ in range(200)]
    assert 60 < len(set(sent)) < 140
    assert len({page.data for page in (Pages(repeats=1.0).next((64, 64)),)}) == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_page_is_what_it_says(size: tuple[int, int], format: Format) -> None:
    page = draw(7, size, format)
    header, _, data = page.url.partition(",")
    assert header == f"data:image/{format.lower()};base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.size, image.format) == (size, format)
    assert page.colour in page.question
    assert len(page.code) == 2
