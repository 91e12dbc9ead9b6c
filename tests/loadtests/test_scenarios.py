"""All scenarios at once, for a few seconds, on the real endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.__main__ import SCENARIOS, main
from loadtests.locust_results import TOTAL, read_stats
from loadtests.watch import Watch
from tests.conftest import Endpoint
from tests.server.helpers import metric


def test_every_scenario_runs_without_a_failure_and_is_judged(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thresholds = tmp_path / "thresholds.toml"
    thresholds.write_text('[all]\nfailures = 0.0\n["Rude asks again"]\nthroughput = 100000\n')
    first_passes = metric(endpoint.url, "sdrpn_pass1_seconds_count")
    status = main(
        [
            *("all", "--url", endpoint.url, "--users", str(len(SCENARIOS)), "--time", "10s"),
            *("--thresholds", str(thresholds), "--out", str(tmp_path)),
        ]
    )
    output = capsys.readouterr().out
    violated = [line for line in output.splitlines() if line.startswith("VIOLATED")]
    assert [line.split()[1] for line in violated] == ["Rude"], output + _log(tmp_path)
    assert "req/s, under" in violated[0]
    assert status == 1
    assert metric(endpoint.url, "sdrpn_pass1_seconds_count") > first_passes
    kinds = {row.name.split(" ")[0] for row in read_stats(tmp_path / "locust")}
    assert kinds >= {*SCENARIOS, TOTAL}
    assert {"report.html", "load.png"} <= {path.name for path in tmp_path.iterdir()}


def test_requests_left_behind_are_reported(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(f"{endpoint.url}/metrics")
    assert watch.left_behind(within=60.0) == {}
    monkeypatch.setattr("loadtests.watch.WATCHED", {"counted": "sdrpn_build_info"})
    assert watch.left_behind(within=0.0) == {"counted": 1.0}


def _log(folder: Path) -> str:
    return (folder / "locust.log").read_text()
