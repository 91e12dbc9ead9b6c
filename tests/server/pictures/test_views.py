"""Sizes of base views and crops, over pictures of every shape."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rpn_plugin.families import FAMILIES, LLAVA
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images.scaling import CELL, view_grid
from server.pictures.files import Picture
from server.pictures.views import base_view, crop_box, crop_view
from tests.server.helpers import noise

SIDES = st.integers(1, 20_000)
TOKENS = st.integers(1, 16384)


NATIVE = st.sampled_from([family.image for family in FAMILIES if family.image.square is None])


@given(SIDES, SIDES, TOKENS, st.booleans(), NATIVE)
def test_a_grid_keeps_its_budget_and_what_the_processor_takes(
    width: int, height: int, tokens: int, enlarge: bool, image: ImageGrid
) -> None:
    rows, cols = view_grid((width, height), tokens, enlarge=enlarge, image=image)
    assert image.least_cells <= rows * cols <= max(tokens, image.least_cells)
    assert max(rows, cols) <= image.max_aspect * min(rows, cols)


@given(st.integers(28, 5000), st.integers(28, 5000), st.integers(64, 4096))
def test_a_grid_keeps_the_pictures_shape(width: int, height: int, tokens: int) -> None:
    rows, cols = view_grid((width, height), tokens, enlarge=True)
    if min(rows, cols) >= 4:
        assert abs(math.log(cols / rows * height / width)) < 2 / min(rows, cols)


@given(st.integers(60, 2000), st.integers(60, 2000), TOKENS)
def test_a_base_view_is_never_larger_than_its_picture(width: int, height: int, tokens: int) -> None:
    rows, cols = view_grid((width, height), tokens)
    assert cols * CELL < width + CELL
    assert rows * CELL < height + CELL


@st.composite
def boxes_in_pictures(
    draw: st.DrawFn,
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    width, height = draw(SIDES), draw(SIDES)
    x0, x1 = sorted(draw(st.tuples(*[st.floats(0, width)] * 2)))
    y0, y1 = sorted(draw(st.tuples(*[st.floats(0, height)] * 2)))
    return (x0, y0, x1, y1), (width, height)


@given(boxes_in_pictures())
def test_a_crop_holds_its_box_and_stays_in_the_picture(
    case: tuple[tuple[float, float, float, float], tuple[int, int]],
) -> None:
    box, (width, height) = case
    x0, y0, x1, y1 = crop_box(box, (width, height))
    assert 0 <= x0 <= box[0]
    assert 0 <= y0 <= box[1]
    assert box[2] <= x1 <= width
    assert box[3] <= y1 <= height
    assert x1 - x0 >= min(CELL, width)
    assert y1 - y0 >= min(CELL, height)


def test_views_fill_whole_cells_and_are_named_by_what_they_show() -> None:
    picture = Picture(noise(300, 200), "digest")
    base = base_view(picture, 24)
    assert base.image.size == (base.grid[1] * CELL, base.grid[0] * CELL)
    crop = crop_view(picture, (10, 20, 110, 120), 16)
    assert crop.grid == (4, 4)
    assert crop.image.size == (112, 112)
    assert base_view(picture, 24).uuid == base.uuid
    others = [
        base_view(picture, 6),
        base_view(Picture(picture.image, "other"), 24),
        crop,
        crop_view(picture, (10, 20, 110, 121), 16),
        crop_view(picture, (10, 20, 110, 120), 64),
    ]
    assert len({base.uuid, *(view.uuid for view in others)}) == 1 + len(others)


def test_a_crop_is_cut_from_the_original_pixels() -> None:
    original = noise(400, 300)
    crop = crop_view(Picture(original, "digest"), (56, 28, 168, 140), 16)
    assert crop.image.tobytes() == original.crop((56, 28, 168, 140)).tobytes()


def test_llava_sees_the_picture_in_the_middle_of_a_square() -> None:
    picture = Picture(Image.new("RGB", (600, 200), "white"), "digest")
    base = base_view(picture, 1, LLAVA.image)
    assert base.grid == (24, 24)
    assert base.image.size == (336, 336)
    assert base.image.getpixel((168, 100)) == LLAVA.image.fill
    assert base.image.getpixel((168, 168)) == (255, 255, 255)


def test_llavas_crops_fill_the_square() -> None:
    original = noise(400, 300)
    crop = crop_view(Picture(original, "digest"), (10, 20, 110, 70), 1, LLAVA.image)
    stretched = original.crop((10, 20, 110, 70)).resize((336, 336), Image.Resampling.BICUBIC)
    assert crop.image.tobytes() == stretched.tobytes()


def test_a_thin_picture_does_not_become_a_huge_square() -> None:
    base = base_view(Picture(Image.new("RGB", (200_000, 1), "white"), "digest"), 1, LLAVA.image)
    assert base.image.size == (336, 336)
