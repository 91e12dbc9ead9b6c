"""Sizes of base views and crops, over pictures of every shape."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rpn_plugin.families import FAMILIES
from rpn_plugin.families.base import ImageGrid
from rpn_plugin.images.grids import CELL, view_grid

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
