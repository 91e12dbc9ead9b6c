"""`sdrpn distill`: what the user can mend is one line; a fault of the program has a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpn_plugin.distill.data.samples import DataError
from rpn_plugin.distill.run import Run
from server.cli import distill


def arguments(folder: Path, *more: str) -> list[str]:
    return ["labels", "model", "--data", "d", "--out", str(folder), "--device", "cpu", *more]


def failing(error: Exception) -> object:
    def labels(_run: Run) -> None:
        raise error

    return labels


def test_bad_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "labels", failing(DataError("no rows")))
    assert distill.main(arguments(tmp_path)) == 1
    assert capsys.readouterr().err == "sdrpn distill: no rows\n"


def test_an_unknown_label_option_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distill.main(arguments(tmp_path, "--label-options", "sinks")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "label_options: " in line
    assert "unknown label option 'sinks'" in line


def test_a_librarys_value_error_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "labels", failing(ValueError("shapes do not match")))
    with pytest.raises(ValueError, match="shapes do not match"):
        distill.main(arguments(tmp_path))
