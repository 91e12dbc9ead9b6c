from __future__ import annotations

from PIL import Image

from rpn_plugin.families import LLAVA
from rpn_plugin.images.base_view import base_view


def test_llava_sees_the_picture_in_the_middle_of_a_square() -> None:
    view = base_view(Image.new("RGB", (600, 200), "white"), 1, LLAVA.image)
    assert view.size == (336, 336)
    assert view.getpixel((168, 100)) == LLAVA.image.fill
    assert view.getpixel((168, 168)) == (255, 255, 255)


def test_a_thin_picture_does_not_become_a_huge_square() -> None:
    view = base_view(Image.new("RGB", (200_000, 1), "white"), 1, LLAVA.image)
    assert view.size == (336, 336)
