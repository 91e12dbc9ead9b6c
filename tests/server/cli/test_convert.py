"""The RPN of a released checkpoint, written alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from rpn_plugin.network.checkpoint import load_gate, load_rpn
from server.cli.main import main
from tests.golden import LLAVA, QWEN, add_gate


@pytest.mark.parametrize("released", [QWEN, LLAVA])
def test_the_same_rpn_in_a_small_folder(released: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rpn"
    assert main(["convert", str(released / "checkpoint"), str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {"rpn.safetensors", "rpn_config.json"}
    before, after = load_rpn(released / "checkpoint"), load_rpn(folder)
    assert after.config == before.config
    torch.testing.assert_close(dict(after.state_dict()), dict(before.state_dict()), atol=0, rtol=0)


def test_a_released_gate_goes_along(tmp_path: Path) -> None:
    released, folder = tmp_path / "released", tmp_path / "rpn"
    shutil.copytree(QWEN / "checkpoint", released)
    add_gate(released)
    assert main(["convert", str(released), str(folder)]) == 0
    before, after = load_gate(released), load_gate(folder)
    assert before is not None
    assert after is not None
    assert after.config == before.config
    torch.testing.assert_close(after.state_dict(), before.state_dict(), atol=0, rtol=0)


def test_an_rpn_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", str(QWEN / "checkpoint"), str(tmp_path)]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "already holds an RPN" in capsys.readouterr().err


def test_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(tmp_path), str(tmp_path / "rpn")]) == 2
    assert "no RPN in" in capsys.readouterr().err
