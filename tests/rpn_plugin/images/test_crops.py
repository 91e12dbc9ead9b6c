from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rpn_plugin.families import LLAVA
from rpn_plugin.images.crops import crop_box, crop_view
from rpn_plugin.images.grids import CELL
from tests.server.helpers import noise

SIDES = st.integers(1, 20_000)


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


def test_a_crop_is_cut_from_the_original_pixels() -> None:
    original = noise(400, 300)
    crop = crop_view(original, (56, 28, 168, 140), 16)
    assert crop.tobytes() == original.crop((56, 28, 168, 140)).tobytes()


def test_llavas_crops_fill_the_square() -> None:
    original = noise(400, 300)
    crop = crop_view(original, (10, 20, 110, 70), 1, LLAVA.image)
    stretched = original.crop((10, 20, 110, 70)).resize((336, 336), Image.Resampling.BICUBIC)
    assert crop.tobytes() == stretched.tobytes()
