"""Pages for load: all different, and real pictures."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from loadtests.pages import FORMATS, SIZES, Format, Pages, draw


def test_no_page_is_sent_twice() -> None:
    pages = Pages()
    sent = [pages.next((160, 120)).data for _ in range(40)]
    assert len(set(sent)) == 40


def test_two_sources_do_not_send_the_same_pages() -> None:
    assert Pages().next((160, 120)).data != Pages().next((160, 120)).data


def test_a_seed_fixes_the_series() -> None:
    first, second = Pages(seed=1), Pages(seed=1)
    assert [first.next().data for _ in range(2)] == [second.next().data for _ in range(2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("format", FORMATS)
def test_a_page_is_what_it_says(size: tuple[int, int], format: Format) -> None:
    page = draw(7, size, format)
    header, _, data = page.url.partition(",")
    assert header == f"data:image/{format.lower()};base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.size, image.format) == (size, format)
    assert page.colour in page.question
    assert len(page.code) == 2
