"""Holds a run against thresholds from a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.report import TOTAL, Row, Series

Thresholds = Mapping[str, Mapping[str, float]]

_KNOWN = {"failures", "p50", "p95", "p99", "per_second", "memory_growth"}


def read_thresholds(path: Path) -> Thresholds:
    """The thresholds in a TOML file. Raises ValueError for one that is not known."""
    sections = tomllib.loads(path.read_text())
    for section, limits in sections.items():
        unknown = set(limits) - _KNOWN
        if unknown:
            raise ValueError(
                f"{path}: [{section}] has {', '.join(sorted(unknown))}; known: "
                f"{', '.join(sorted(_KNOWN))}"
            )
    return sections


def broken(thresholds: Thresholds, rows: Sequence[Row], watched: Mapping[str, Series]) -> list[str]:
    """What the run did not keep to, a line each."""
    kinds = [row for row in rows if row.name != TOTAL]
    found = [] if kinds else ["nothing was sent"]
    for row in kinds:
        found += _broken_by(row, _limits(thresholds, row.name))
    growth = memory_growth(watched.get("memory", []))
    limit = thresholds.get("all", {}).get("memory_growth")
    if growth is not None and limit is not None and growth > limit:
        found.append(f"the API process's memory grew {growth:.2f}-fold, more than {limit:g}")
    return found


def memory_growth(memory: Series) -> float | None:
    """The last sample over that of a quarter of the run; None for a run of too few samples."""
    if len(memory) < 8:
        return None
    return memory[-1][1] / memory[len(memory) // 4][1]


def _limits(thresholds: Thresholds, name: str) -> dict[str, float]:
    """Those for all, for the scenario, and for this very kind of request: the last one wins."""
    scenario = name.split(" ")[0]
    limits: dict[str, float] = {}
    for section in ("all", scenario, name):
        limits |= thresholds.get(section, {})
    return limits


def _broken_by(row: Row, limits: Mapping[str, float]) -> list[str]:
    found = []
    if "failures" in limits and row.failed_share > limits["failures"]:
        found.append(f"{row.name}: {row.failures} of {row.requests} requests failed")
    if "per_second" in limits and row.per_second < limits["per_second"]:
        found.append(f"{row.name}: {row.per_second:.2f} a second, under {limits['per_second']:g}")
    for percentile, seconds in row.seconds.items():
        if percentile in limits and seconds > limits[percentile]:
            found.append(f"{row.name}: {percentile} {seconds:.2f} s, over {limits[percentile]:g} s")
    return found
