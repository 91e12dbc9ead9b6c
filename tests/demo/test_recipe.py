"""The shipped model is what the recipe in the tree makes: its record says so."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from demo.architecture import MODEL_DIR
from demo.recipe import (
    OtherRecipe,
    claim,
    file_digests,
    read_record,
    recorded_stages,
    stage_recipe,
    write_record,
)
from demo.train import FULL, GATE_CONFIDENCE_TOKENS, GATE_MAX_CONFIDENCE, train_rpn
from demo.training.rpn_stage import SETTINGS, RpnRecipe

REMEDY = "train again: python -m demo.train (or --rpn-only, where only the third stage differs)"


def test_the_shipped_model_was_made_by_the_recipe_in_the_tree() -> None:
    recipe = {name: stage.sha256 for name, stage in FULL.stages().items()}
    assert recorded_stages(MODEL_DIR) == recipe, REMEDY


def test_the_shipped_files_are_those_that_training_wrote() -> None:
    assert read_record(MODEL_DIR)["files"] == file_digests(MODEL_DIR), REMEDY


def test_the_shipped_gate_is_that_of_the_recipe() -> None:
    config = json.loads((MODEL_DIR / "rpn" / "rpn_config.json").read_text())
    assert config["gate_max_confidence"] == GATE_MAX_CONFIDENCE
    assert config["gate_confidence_tokens"] == GATE_CONFIDENCE_TOKENS
    assert config["gate_default"] is False


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `toy` whose module `stage` imports its module `tool`."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "tool.py").write_text("RATE = 0.1\n")
    (folder / "stage.py").write_text("from toy.tool import RATE\n\nSTEPS = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy", raising=False)  # of another test
    return folder


def _digest(**settings: int) -> str:
    return stage_recipe("toy.stage", settings).sha256


def test_prose_and_moved_modules_do_not_change_a_digest(package: Path) -> None:
    before = _digest()
    (package / "tool.py").rename(package / "moved.py")
    (package / "stage.py").write_text(
        '"""Says something."""\n'
        "from toy.moved import RATE\n\n"
        'STEPS = 3  # a comment\n"""How many."""\n\n\n'
        "def main() -> None:\n"
        '    print("a command line")\n\n\n'
        'if __name__ == "__main__":\n'
        "    main()\n"
    )
    assert _digest() == before


@pytest.mark.parametrize(
    ("module", "code"),
    [("stage.py", "from toy.tool import RATE\n\nSTEPS = 4\n"), ("tool.py", "RATE = 0.2\n")],
)
def test_code_changes_a_digest(package: Path, module: str, code: str) -> None:
    before = _digest()
    (package / module).write_text(code)
    assert _digest() != before


def test_settings_and_the_stage_before_change_a_digest(package: Path) -> None:
    first = stage_recipe("toy.stage", {"pages": 1})
    other = stage_recipe("toy.stage", {"pages": 2})
    assert first.sha256 != other.sha256
    after = [stage_recipe("toy.stage", {}, before).sha256 for before in (None, first, other)]
    assert len(set(after)) == 3


def test_the_third_stage_depends_on_settings_and_labels_of_sdrpn_distill() -> None:
    record = RpnRecipe().record()
    other = RpnRecipe(settings=SETTINGS.model_copy(update={"foreground": 0.5})).record()
    assert record["settings"] != other["settings"]
    assert record["labels_of_a_fixed_map"] != other["labels_of_a_fixed_map"]


def test_a_run_does_not_go_on_with_another_recipe(package: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    claim(runs, "vision", stage_recipe("toy.stage", {"steps": 1}))
    claim(runs, "vision", stage_recipe("toy.stage", {"steps": 1}))
    with pytest.raises(OtherRecipe, match="vision"):
        claim(runs, "vision", stage_recipe("toy.stage", {"steps": 2}))


def test_an_rpn_alone_is_not_made_for_a_model_of_another_recipe(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    write_record(model, replace(FULL, vision_steps=1).stages())
    with pytest.raises(OtherRecipe, match="vision"):
        train_rpn(FULL, tmp_path / "runs", model)


def test_a_changed_file_changes_the_record(tmp_path: Path) -> None:
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn" / "weights").write_bytes(b"1")
    before = file_digests(tmp_path)
    (tmp_path / "rpn" / "weights").write_bytes(b"2")
    assert file_digests(tmp_path).keys() == before.keys() == {"rpn/weights"}
    assert file_digests(tmp_path) != before
