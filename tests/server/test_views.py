"""Sizes of base views and crops, over pictures of every shape."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from server.pictures import Picture
from server.viewing import base_view, crop_box, crop_view
from server.views import CELL, MAX_ASPECT, MIN_CELLS, view_grid
from tests.server.helpers import noise

SIDES = st.integers(1, 20_000)
TOKENS = st.integers(1, 16384)


@given(SIDES, SIDES, TOKENS, st.booleans())
def test_a_grid_keeps_its_budget_and_what_the_processor_takes(
    width: int, height: int, tokens: int, enlarge: bool
) -> None:
    rows, cols = view_grid((width, height), tokens, enlarge=enlarge)
    assert MIN_CELLS <= rows * cols <= max(tokens, MIN_CELLS)
    assert max(rows, cols) <= MAX_ASPECT * min(rows, cols)


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
