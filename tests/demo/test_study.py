"""The studies of distillation: page kinds that can be told apart, and arms that are made once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import demo.study.data as data
from demo.architecture import MODEL_DIR
from demo.study.bench import AREA, Arm, Bench
from demo.study.kinds import PAGE_KINDS, PageKind, render_kind, write_kinds
from demo.study.unseen import GROUPS


@pytest.mark.parametrize("kind", PAGE_KINDS.values(), ids=lambda kind: kind.name)
def test_a_page_is_of_its_kind(kind: PageKind) -> None:
    for index in range(6):
        page = render_kind(kind, 1, index)
        again = render_kind(kind, 1, index)
        assert page.image.tobytes() == again.image.tobytes()
        assert page.image.size == kind.size
        assert page.things[page.asked].code.isdigit()
        for thing in page.things:
            assert 0 <= thing.box[0] < thing.box[2] <= page.image.width
            assert 0 <= thing.box[1] < thing.box[3] <= page.image.height


def test_the_groups_share_no_kind_and_no_question(tmp_path: Path) -> None:
    tags, circles = (set(kinds) for kinds in GROUPS.values())
    assert len(tags) == len(circles) == 3
    assert not tags & circles
    rows = write_kinds(1, 2, tmp_path).read_text().splitlines()
    assert len(rows) == 2 * len(PAGE_KINDS)
    asked = {(row["kind"], row["question"].split()[-1]) for row in map(json.loads, rows)}
    assert asked == {*((kind, "tag?") for kind in tags), *((kind, "circle?") for kind in circles)}


def test_an_arm_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "QUESTIONS", (12,))
    monkeypatch.setattr(data, "TESTED", 4)
    bench = data.open_bench(tmp_path, MODEL_DIR)
    first = next(iter(data.arms(bench)))
    arm = Arm(first.name, first.asked, first.tested, first.seed, steps=1)
    made = bench.train(arm)
    assert set(made.own.regions) == set(arm.tested) == set(range(12, 16))
    assert 0 < made.learnt <= 12
    assert made.even.area <= AREA
    assert made.even.covered == bench.covered(arm.tested, made.even.regions)
    checkpoint = tmp_path / "arms" / arm.name / "checkpoint.safetensors"
    written = checkpoint.stat().st_mtime_ns
    assert Bench(tmp_path, tmp_path / "pages" / "pages.jsonl", MODEL_DIR).train(arm) == made
    assert checkpoint.stat().st_mtime_ns == written
