"""A run is judged by what Locust wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.locust_results import TOTAL, RequestStats, draw, read_history, read_stats, table
from loadtests.verdict import memory_growth, read_thresholds, violations

STATS = """\
Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,\
Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,\
99.9%,99.99%,100%
POST,MultiTurn,40,1,300,310,100,900,500,2.0,0.05,300,320,340,360,400,700,800,900,900,900,900
,Aggregated,40,1,300,310,100,900,500,2.0,0.05,300,320,340,360,400,700,800,900,900,900,900
"""
HISTORY = """\
Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,\
100%,Total Request Count,Total Failure Count
1000,1,,Aggregated,0.0,0.0,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,N/A,0,0
1001,1,POST,MultiTurn,2.0,0.0,300,320,340,360,400,700,800,900,900,900,900,2,0
1001,1,,Aggregated,2.0,0.0,300,320,340,360,400,700,800,900,900,900,900,2,0
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Where a run of Locust has left its files."""
    (tmp_path / "locust_stats.csv").write_text(STATS)
    (tmp_path / "locust_stats_history.csv").write_text(HISTORY)
    return tmp_path / "locust"


def test_rows_are_read_in_seconds(prefix: Path) -> None:
    row, total = read_stats(prefix)
    assert row == RequestStats("MultiTurn", 40, 1, 2.0, {"p50": 0.3, "p95": 0.7, "p99": 0.9})
    assert total.name == TOTAL
    assert "MultiTurn" in table([row, total])


def test_the_history_is_drawn(prefix: Path, tmp_path: Path) -> None:
    history = read_history(prefix)
    assert history.throughput == [(0, 0.0), (1, 2.0)]
    assert history.p95[0] == pytest.approx((1, 0.7))
    draw(history, {"in flight": [(0.0, 1.0), (1.0, 2.0)]}, "a run", tmp_path / "load.png")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"failures": 0.1, "p95": 1.0, "p99": 1.0, "throughput": 1.0}, 0),
        ({"failures": 0.0}, 1),
        ({"p95": 0.5}, 1),
        ({"p50": 0.1, "p99": 0.5}, 2),
        ({"throughput": 3.0}, 1),
    ],
)
def test_a_violated_threshold_is_reported(
    prefix: Path, limits: dict[str, float], count: int
) -> None:
    assert len(violations({"all": limits}, read_stats(prefix), {})) == count


def test_the_most_specific_section_counts(prefix: Path) -> None:
    thresholds = {"all": {"failures": 0.0}, "MultiTurn": {"failures": 0.5}}
    assert violations(thresholds, read_stats(prefix), {}) == []


def test_a_run_without_requests_is_no_success() -> None:
    assert violations({}, [RequestStats(TOTAL, 0, 0, 0.0, {})], {}) == ["no request was sent"]


def test_growing_memory_is_reported() -> None:
    memory = [(float(at), 100.0 + 10 * at) for at in range(20)]
    assert memory_growth(memory) == pytest.approx(290 / 150)
    row = RequestStats("MultiTurn", 1, 0, 1.0, {})
    assert len(violations({"all": {"memory_growth": 1.2}}, [row], {"memory": memory})) == 1
    assert memory_growth(memory[:3]) is None


def test_an_unknown_threshold_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.toml"
    file.write_text("[MultiTurn]\np59 = 1.0\n")
    with pytest.raises(ValueError, match="p59"):
        read_thresholds(file)
