"""Compares a run with the thresholds of a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.locust_results import TOTAL, RequestStats, Series

Thresholds = Mapping[str, Mapping[str, float]]

_NAMES = {"failures", "p50", "p95", "p99", "throughput", "memory_growth"}


def read_thresholds(path: Path) -> Thresholds:
    """The thresholds in a TOML file. Raises ValueError for an unknown name."""
    sections = tomllib.loads(path.read_text())
    for section, limits in sections.items():
        unknown = set(limits) - _NAMES
        if unknown:
            raise ValueError(
                f"{path}: [{section}] has unknown thresholds {', '.join(sorted(unknown))}; not in "
                f"{', '.join(sorted(_NAMES))}"
            )
    return sections


def violations(
    thresholds: Thresholds, rows: Sequence[RequestStats], watched: Mapping[str, Series]
) -> list[str]:
    """The thresholds that the run violates, a line each."""
    kinds = [row for row in rows if row.name != TOTAL]
    lines = [] if kinds else ["no request was sent"]
    for row in kinds:
        lines += _violations_of(row, _limits(thresholds, row.name))
    growth = memory_growth(watched.get("memory", []))
    limit = thresholds.get("all", {}).get("memory_growth")
    if growth is not None and limit is not None and growth > limit:
        lines.append(f"the API process's memory grew {growth:.2f}-fold, more than {limit:g}")
    return lines


def memory_growth(memory: Series) -> float | None:
    """The last sample over the one after a quarter of the run; None for fewer than 8 samples."""
    if len(memory) < 8:
        return None
    return memory[-1][1] / memory[len(memory) // 4][1]


def _limits(thresholds: Thresholds, name: str) -> dict[str, float]:
    """Those for all, for the scenario, and for this kind of request: the most specific wins."""
    scenario = name.split(" ")[0]
    limits: dict[str, float] = {}
    for section in ("all", scenario, name):
        limits |= thresholds.get(section, {})
    return limits


def _violations_of(row: RequestStats, limits: Mapping[str, float]) -> list[str]:
    lines = []
    if "failures" in limits and row.failed_share > limits["failures"]:
        lines.append(f"{row.name}: {row.failures} of {row.requests} requests failed")
    if "throughput" in limits and row.throughput < limits["throughput"]:
        lines.append(f"{row.name}: {row.throughput:.2f} req/s, under {limits['throughput']:g}")
    for percentile, seconds in row.latency.items():
        if percentile in limits and seconds > limits[percentile]:
            lines.append(f"{row.name}: {percentile} {seconds:.2f} s, over {limits[percentile]:g} s")
    return lines
