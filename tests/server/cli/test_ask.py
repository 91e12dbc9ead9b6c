"""`sdrpn ask` against the real endpoint, and the picture it draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.api.roi_report import RegionReport, RoiReport
from server.cli.answer_drawing import ACCENT, MARGIN, PAGE_SIDE, TITLE_HEIGHT, draw_answer
from tests.conftest import Endpoint
from tests.server.helpers import noise

QUESTION = "What is the code on the red tag?"


def run_ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli", "ask", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.png"
    noise(640, 480).save(path)
    return path


def test_ask_prints_both_answers_and_draws_one_picture(endpoint: Endpoint, page: Path) -> None:
    done = run_ask(str(page), QUESTION, "--url", endpoint.url, "--max-tokens", "4")
    assert done.returncode == 0, done.stderr
    labels = [line[:12].strip() for line in done.stdout.splitlines()]
    assert labels[:2] == ["base view", "with region"]
    assert {"region", "no region"} & set(labels)
    drawn = Image.open(page.with_name("page-sdrpn.png"))
    assert drawn.width > 640
    assert drawn.height > 480


def test_ask_writes_where_it_is_told(endpoint: Endpoint, page: Path) -> None:
    out = page.with_name("elsewhere.png")
    done = run_ask(
        str(page), QUESTION, "--url", endpoint.url, "--max-tokens", "4", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert out.exists()


def test_ask_says_in_one_line_what_is_wrong(page: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    nobody = "http://127.0.0.1:1"
    for arguments, reason in [
        ((str(page), QUESTION, "--url", nobody), "no endpoint answers"),
        ((str(text), QUESTION, "--url", nobody), "not a picture"),
        ((str(tmp_path / "absent.png"), QUESTION), "No such file"),
    ]:
        done = run_ask(*arguments)
        assert done.returncode == 1
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1


def report(heat: bool = True) -> RoiReport:
    return RoiReport(
        regions=[],
        image=0,
        image_size=(640, 480),
        grid=(6, 8),
        skipped="no_region",
        timings={},
        heatmap=np.linspace(0, 1, 48).reshape(6, 8).tolist() if heat else None,
    )


@pytest.mark.parametrize("regions", [1, 3, 8])
@pytest.mark.parametrize("size", [(640, 480), (40, 1200), (3000, 200)])
def test_every_region_is_framed_on_the_page_and_beside_it(
    regions: int, size: tuple[int, int]
) -> None:
    box: list[int | float] = [0, 0, size[0] // 2, size[1] // 2]
    roi = report().model_copy(update={"image_size": size, "skipped": None})
    framed = roi.model_copy(update={"regions": [RegionReport(box=box, score=0.5)] * regions})
    plain = draw(size, roi)
    assert accents(draw(size, framed)) > accents(plain) + 100 * regions


def test_the_heat_map_lies_on_the_page_and_nowhere_else() -> None:
    cold, hot = (np.asarray(draw((640, 480), report(heat))) for heat in (False, True))
    changed = Image.fromarray((cold != hot).any(axis=-1))
    left, top = MARGIN, MARGIN + TITLE_HEIGHT
    box = changed.getbbox()
    assert box is not None
    assert (box[0] >= left, box[1] >= top) == (True, True)
    assert (box[2], box[3]) == (left + PAGE_SIDE, top + PAGE_SIDE * 480 // 640)


def draw(size: tuple[int, int], roi: RoiReport) -> Image.Image:
    return draw_answer(Image.new("RGB", size, "white"), "Why? " * 200, "", "because " * 99, roi)


def accents(image: Image.Image) -> int:
    return int((np.asarray(image) == ACCENT).all(axis=-1).sum())
