"""`sdrpn doctor` finds nothing wrong here, and finds what is wrong elsewhere."""

import json
import shutil
from pathlib import Path

import pytest

from server.cli import doctor
from server.shipped_model import SHIPPED_MODEL


def test_this_installation_fits_together(capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor.run()
    shown = capsys.readouterr().out
    assert status == 0, shown
    for part in ("Python", "torch", "torchvision", "vLLM", "plugin sdrpn", "model", "RPN"):
        assert part in shown


def test_an_rpn_of_another_model_is_found_with_its_mending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rpn = Path(shutil.copytree(SHIPPED_MODEL / "rpn", tmp_path / "rpn"))
    config = json.loads((rpn / "rpn_config.json").read_text())
    (rpn / "rpn_config.json").write_text(json.dumps({**config, "base_layers": 99}))
    assert doctor.run(rpn=str(rpn)) == 1
    shown = capsys.readouterr().out
    assert "FAIL  RPN" in shown
    assert "--rpn" in shown


def test_a_plugin_that_is_not_installed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    findings = {finding.part: finding for finding in doctor.examine(str(SHIPPED_MODEL))}
    assert findings["plugin sdrpn"].mend is not None
    assert findings["plugin sdrpn_endpoint"].mend is not None
