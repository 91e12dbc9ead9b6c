"""A run killed at any moment goes on, and ends with the very same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from rpn_plugin.network.checkpoint import load_rpn
from tests.rpn_plugin.distill.conftest import finish, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    finish(start(pages, out))
    return out


def labels_begun(out: Path) -> bool:
    return (out / "labels" / "00001.sha256").exists()


def training_begun(out: Path) -> bool:
    checkpoint = out / "training" / "checkpoint.safetensors"
    if not checkpoint.exists():
        return False
    with safe_open(checkpoint, framework="pt") as file:
        return int(file.metadata()["done"]) >= 2


def kill_when(process: subprocess.Popen[str], reached: object) -> None:
    while not callable(reached) or not reached():
        assert process.poll() is None, f"ended before it was killed: {process.communicate()[0]}"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def outcome(out: Path) -> dict[str, bytes]:
    """Everything that a run is for: labels, weights, configuration, card."""
    files = [*sorted((out / "labels").glob("*.safetensors")), out / "rpn.safetensors"]
    files += [out / "rpn_config.json", out / "README.md"]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_killed_twice_and_resumed_equals_undisturbed(
    pages: Path, whole: Path, tmp_path: Path
) -> None:
    for reached in (labels_begun, training_begun):
        kill_when(start(pages, tmp_path), lambda reached=reached: reached(tmp_path))
        assert not (tmp_path / "rpn.safetensors").exists()
    finish(start(pages, tmp_path))
    assert outcome(tmp_path) == outcome(whole)


def test_a_damaged_shard_is_made_again(pages: Path, whole: Path, tmp_path: Path) -> None:
    before = outcome(whole)
    shard = whole / "labels" / "00002.safetensors"
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    finish(start(pages, whole))
    assert outcome(whole) == before


def test_other_settings_in_the_same_folder_are_refused(pages: Path, whole: Path) -> None:
    process = start(pages, whole, "--foreground", "0.4")
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "was made with foreground 0.3, now it is 0.4" in said.splitlines()[-1]


def test_what_comes_out_is_an_rpn_with_a_card(whole: Path) -> None:
    rpn = load_rpn(whole)
    assert (rpn.config.tap_layer, rpn.config.depth, rpn.config.base_tokens) == (1, 2, 64)
    card = (whole / "README.md").read_text()
    assert "pages.jsonl: 24 questions, 0 bad rows left out" in card
    assert "covers 80 % of the true box" in card
    assert f"{rpn.config.threshold:g} (served)" in card
    events = list((whole / "training").glob("events.out.tfevents.*"))
    assert sum(file.stat().st_size for file in events) > 1000
