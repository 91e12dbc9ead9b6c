"""Pages: the same seed gives the same bytes, and each row tells the truth about its picture."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.pages import KINDS, LEGIBLE_PX, LOST_PX, render_page, write_pages
from demo.pictures.questions import COLOURS


def _digest(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_pages(7, 40, folder)
    return folder


def _rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "pages.jsonl").read_text().splitlines()]


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    write_pages(7, 4, tmp_path / "a")
    write_pages(7, 4, tmp_path / "b")
    write_pages(8, 4, tmp_path / "c")
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    assert _digest(tmp_path / "a") != _digest(tmp_path / "c")


def test_more_pages_leave_the_first_ones_alone(tmp_path: Path, pages: Path) -> None:
    write_pages(7, 2, tmp_path)
    first = _digest(pages)
    for name, digest in _digest(tmp_path).items():
        if name.endswith(".png"):
            assert first[name] == digest


def test_rows_are_well_formed(pages: Path) -> None:
    rows = _rows(pages)
    assert len(rows) == 40
    assert {row["kind"] for row in rows} == set(KINDS)
    for row in rows:
        with Image.open(pages / str(row["image"])) as image:
            width, height = image.size
        assert min(width, height) >= 896
        assert isinstance(row["box"], list)
        assert isinstance(row["others"], list)
        assert len(row["others"]) >= 3
        for x0, y0, x1, y1 in [row["box"], *row["others"]]:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
        assert str(row["answer"]).isdigit()
        assert len(str(row["answer"])) == 2
        assert any(name in str(row["question"]) for name in COLOURS)


def test_text_runs_from_lost_to_legible(pages: Path) -> None:
    heights = [float(str(row["text_px"])) for row in _rows(pages)]
    assert min(heights) < LOST_PX
    assert max(heights) > LEGIBLE_PX


def test_things_do_not_touch_and_codes_differ() -> None:
    for index in range(40):
        page = render_page(11, index)
        assert len({thing.code for thing in page.things}) == len(page.things)
        for a in page.things:
            for b in page.things:
                apart = (
                    a.box[2] < b.box[0]
                    or b.box[2] < a.box[0]
                    or a.box[3] < b.box[1]
                    or b.box[3] < a.box[1]
                )
                assert a is b or apart


def test_boxes_hold_the_ink_of_the_answer() -> None:
    for index in range(40):
        page = render_page(12, index)
        for thing in page.things:
            x0, y0, x1, y1 = thing.text_box
            assert thing.box[0] <= x0 < x1 <= thing.box[2]
            assert thing.box[1] <= y0 < y1 <= thing.box[3]
            grey = np.asarray(page.image.crop(thing.text_box).convert("L")).astype(int)
            ink = np.abs(grey - np.median(grey[[0, -1]])) > 30
            rows, cols = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
            assert rows[-1] - rows[0] >= 0.7 * (y1 - y0 - 1), (index, thing)
            assert cols[-1] - cols[0] >= 0.7 * (x1 - x0 - 1), (index, thing)
