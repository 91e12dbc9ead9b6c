"""Training that is killed resumes from its last checkpoint; what it writes is complete."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from demo.recipe import file_digests, read_record, recorded_stages
from demo.train import SMOKE
from demo.training.stage import Stage
from rpn_plugin.network.checkpoint import load_rpn

pytestmark = pytest.mark.slow


def _train(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "demo.train", "--smoke"]
    command += ["--runs", str(folder / "runs"), "--out", str(folder / "model")]
    return subprocess.Popen(command, start_new_session=True)


def test_smoke_recipe_survives_kills(tmp_path: Path) -> None:
    first = _train(tmp_path)
    while not (tmp_path / "runs" / "vision.pt").exists():
        assert first.poll() is None, "training ended before its first checkpoint"
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    trained = (tmp_path / "runs" / "vision.pt").stat().st_mtime_ns
    assert not (tmp_path / "model").exists()

    assert _train(tmp_path).wait(timeout=500) == 0
    again = (tmp_path / "runs" / "vision.pt").stat().st_mtime_ns
    assert again == trained, "the second run trained the vision stage again"
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert load_rpn(tmp_path / "model" / "rpn").config.base_layers == 6
    recipe = {name: stage.sha256 for name, stage in SMOKE.stages().items()}
    assert recorded_stages(tmp_path / "model") == recipe
    assert read_record(tmp_path / "model")["files"] == file_digests(tmp_path / "model")


def test_a_stage_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def counting(stop: int) -> list[int]:
        part = torch.nn.Linear(1, 1)
        stage = Stage("count", tmp_path, 6, {"part": part}, save_every=0.0)
        numbers = []

        def step(number: int) -> dict[str, float]:
            if number == stop:
                raise Killed
            numbers.append(number)
            part.weight.data.fill_(float(number))
            return {}

        try:
            stage.run(step)
        except Killed:
            return numbers
        assert part.weight.item() == 5
        return numbers

    assert counting(stop=4) == [0, 1, 2, 3]
    assert counting(stop=-1) == [4, 5]
    assert counting(stop=-1) == []
