"""`sdrpn doctor` passes this installation, and reports every broken part."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli import doctor
from server.cli.main import main
from server.shipped_model import SHIPPED_MODEL

ROOT = Path(__file__).parents[3]


def test_this_installation_fits_together(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor"])
    shown = capsys.readouterr().out
    assert status == 0, shown
    for part in ("Python", "torch", "torchvision", "vLLM", "plugin sdrpn", "model", "RPN"):
        assert part in shown


def test_an_rpn_of_another_model_is_reported_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rpn = Path(shutil.copytree(SHIPPED_MODEL / "rpn", tmp_path / "rpn"))
    config = json.loads((rpn / "rpn_config.json").read_text())
    (rpn / "rpn_config.json").write_text(json.dumps({**config, "base_layers": 99}))
    assert main(["doctor", "--rpn", str(rpn)]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  RPN" in shown
    assert "--rpn" in shown


def test_a_plugin_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    findings = {finding.part: finding for finding in doctor.examine(str(SHIPPED_MODEL))}
    assert findings["plugin sdrpn"].remedy is not None
    assert findings["plugin sdrpn_endpoint"].remedy is not None


@pytest.mark.slow
@pytest.mark.parametrize("module", ["torch", "torchvision", "vllm"])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("raise OSError('libcudart.so.12: no such file')", "OSError: libcudart.so.12"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "AttributeError: "),
    ],
    ids=["library", "missing", "empty"],
)
def test_a_broken_package_is_a_line_of_the_table(
    module: str, broken: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(broken)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "doctor"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    part = "vLLM" if module == "vllm" else module
    assert any(line.startswith(f"FAIL {part} {reason}") for line in lines), done.stdout
    assert any(line.startswith("ok Python") for line in lines)
    assert "Traceback" not in done.stderr
