"""All scenarios at once, for a few seconds, on the real endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.__main__ import SCENARIOS, main
from loadtests.report import TOTAL, read_rows
from loadtests.watch import Watch
from tests.conftest import Endpoint
from tests.server.helpers import metric


def test_every_scenario_runs_without_a_failure_and_is_judged(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds = tmp_path / "thresholds.toml"
    thresholds.write_text("[all]\nfailures = 0.0\n[Burst]\nper_second = 100000\n")
    looked_at = metric(endpoint.url, "sdrpn_pass1_seconds_count")
    status = main(
        [
            *("all", "--url", endpoint.url, "--users", str(len(SCENARIOS)), "--time", "10s"),
            *("--thresholds", str(thresholds), "--out", str(tmp_path)),
        ]
    )
    said = capsys.readouterr().out
    told = [line for line in said.splitlines() if line.startswith("BROKEN")]
    assert [line.split()[1] for line in told] == ["Burst:"], said + _log(tmp_path)
    assert "a second, under" in told[0]
    assert status == 1
    assert metric(endpoint.url, "sdrpn_pass1_seconds_count") > looked_at
    kinds = {row.name.split(" ")[0] for row in read_rows(tmp_path / "locust")}
    assert kinds >= {*SCENARIOS, TOTAL}
    assert {"report.html", "load.png"} <= {path.name for path in tmp_path.iterdir()}


def test_what_stays_behind_is_told(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(f"{endpoint.url}/metrics")
    assert watch.left_behind(within=60.0) == {}
    monkeypatch.setattr("loadtests.watch.WATCHED", {"counted": "sdrpn_build_info"})
    assert watch.left_behind(within=0.0) == {"counted": 1.0}


def _log(folder: Path) -> str:
    return (folder / "locust.log").read_text()
