from __future__ import annotations

from rpn_plugin.families import LLAVA
from rpn_plugin.images.grids import CELL
from server.pictures.files import Picture
from server.pictures.views import base_view, crop_view
from tests.server.helpers import noise


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


def test_a_square_view_has_the_familys_grid() -> None:
    assert base_view(Picture(noise(600, 200), "digest"), 1, LLAVA.image).grid == (24, 24)
