"""`sdrpn distill gate`: what it learns from two answers, and a run that is killed and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.gate.gate_answers import AnswerPair, is_right, judged, read_answers
from rpn_plugin.distill.gate.gate_training import best_threshold, measure_gate
from rpn_plugin.network.checkpoint import load_gate, load_rpn, load_rpn_config, save_rpn
from server.shipped_model import SHIPPED_MODEL
from tests.rpn_plugin.distill.conftest import finish
from tests.rpn_plugin.distill.test_resume import kill_when, training_begun

RPN = SHIPPED_MODEL / "rpn"
TINY = (
    *("--depth", "2", "--max-new-tokens", "4", "--shard", "4", "--label-batch", "4"),
    *("--batch", "4", "--micro-batch", "2", "--epochs", "2", "--validation", "2"),
    *("--device", "cpu", "--checkpoint-seconds", "0", "--lr", "1e-3"),
)


def start(data: Path, out: Path) -> subprocess.Popen[str]:
    arguments = ("gate", str(SHIPPED_MODEL), "--rpn", str(RPN), "--data", str(data))
    return subprocess.Popen(
        [sys.executable, "-m", "server.cli", "distill", *arguments, "--out", str(out), *TINY],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def whole(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("gate")
    finish(start(pages, out))
    return out


@pytest.mark.slow
def test_it_serves_the_rpn_with_a_gate_that_waits_to_be_asked(whole: Path) -> None:
    config, shipped = load_rpn_config(whole), load_rpn_config(RPN)
    assert (config.gate_layers, config.gate_default) == (2, False)
    assert (config.tap_layer, config.threshold) == (shipped.tap_layer, shipped.threshold)
    gate = load_gate(whole)
    assert gate is not None
    assert gate.head.weight.abs().sum() > 0
    ours, theirs = load_file(whole / "rpn.safetensors"), load_file(RPN / "rpn.safetensors")
    assert all(ours[name].equal(theirs[name]) for name in ours.keys() | theirs.keys())
    card = (whole / "README.md").read_text()
    assert "24 questions answered with and without zoom" in card
    assert "(chosen)" in card


@pytest.mark.slow
def test_both_answers_are_kept(pages: Path, whole: Path) -> None:
    made_with = json.loads((whole / "answers" / "settings.json").read_text())
    shards = Shards(whole / "answers", made_with.pop("shards"), made_with)
    samples, _, _ = read_samples(pages)
    answered, rejected = read_answers(shards, samples)
    assert (len(answered), rejected) == (24, [])
    # The shipped model: zoom helps on most pages, and some need none.
    assert sum(item.need == 1 for item in answered) > sum(item.need == 0 for item in answered) > 0


@pytest.mark.slow
def test_killed_and_resumed_equals_undisturbed(pages: Path, whole: Path, tmp_path: Path) -> None:
    def answers_begun() -> bool:
        return (tmp_path / "answers" / "00001.sha256").exists()

    for reached in (answers_begun, lambda: training_begun(tmp_path)):
        kill_when(start(pages, tmp_path), reached)
        assert not (tmp_path / "gate.safetensors").exists()
    finish(start(pages, tmp_path))
    for name in ("gate.safetensors", "rpn_config.json", "README.md"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_another_rpn_in_the_same_folder_is_refused(
    pages: Path, whole: Path, tmp_path: Path
) -> None:
    rpn = load_rpn(RPN)
    rpn.state_dict()["layers.0.mlp.up_proj.weight"].mul_(1.01)
    save_rpn(rpn, tmp_path)
    arguments = ("gate", str(SHIPPED_MODEL), "--rpn", str(tmp_path), "--data", str(pages))
    run = subprocess.run(
        [sys.executable, "-m", "server.cli", "distill", *arguments, "--out", str(whole), *TINY],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "was made with rpn" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("base", "zoom", "truths", "need"),
    [
        ("42", "42", ["42"], 0),
        ("42", "17", ["42"], 0),
        ("17", "The code is 42.", ["42"], 1),
        ("17", "18", ["42"], None),
        ("17", None, ["42"], None),
        ("42", None, ["42"], None),
        ("Yes.", "yes", [], 0),
        ("yes", "no", [], 1),
    ],
)
def test_what_two_answers_teach(
    base: str, zoom: str | None, truths: list[str], need: float | None
) -> None:
    assert judged(0, base, zoom, truths).need == need


def test_an_answer_is_right_if_it_says_the_truth_in_whole_words() -> None:
    assert is_right("It says Exit 9.", "exit 9")
    assert not is_right("It says Exit 92.", "exit 9")
    assert not is_right("", "9")


def test_the_threshold_skips_what_costs_nothing() -> None:
    needless = [AnswerPair(n, "a", "a", True, True) for n in range(10)]
    needed = [AnswerPair(10 + n, "b", "a", False, True) for n in range(10)]
    need = {item.number: 0.05 * item.number for item in [*needless, *needed]}
    measured = measure_gate([*needless, *needed], need)
    assert (measured[0].right, measured[0].zooms, measured[0].needless_skipped) == (1, 1, 0)
    best = best_threshold(measured)
    assert (best.threshold, best.right, best.needless_skipped) == (0.5, 1, 1)
    assert (best.needed_skipped, best.zooms) == (0, 0.5)
