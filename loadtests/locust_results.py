"""Reads the CSV files that Locust writes, and draws them over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOTAL = "Aggregated"
"""Locust's name for all requests together."""

Series = Sequence[tuple[float, float]]
"""(Seconds since the start, value)."""


@dataclass(frozen=True)
class RequestStats:
    """One kind of request: its count, failures, throughput in requests per second, and percentiles
    (p50, p95, p99) of its end-to-end latency in seconds.
    """

    name: str
    requests: int
    failures: int
    throughput: float
    latency: dict[str, float]

    @property
    def failed_share(self) -> float:
        """Failures over requests."""
        return self.failures / self.requests if self.requests else 0.0


def read_stats(prefix: Path) -> list[RequestStats]:
    """The rows of Locust's `<prefix>_stats.csv`, the total last."""
    with prefix.with_name(f"{prefix.name}_stats.csv").open(newline="") as file:
        return [_stats(line) for line in csv.DictReader(file)]


def _stats(line: Mapping[str, str]) -> RequestStats:
    return RequestStats(
        name=line["Name"],
        requests=int(line["Request Count"]),
        failures=int(line["Failure Count"]),
        throughput=float(line["Requests/s"]),
        latency={
            f"p{p}": float(line[f"{p}%"]) / 1000 for p in (50, 95, 99) if line[f"{p}%"] != "N/A"
        },
    )


@dataclass(frozen=True)
class History:
    """The whole run over time. Latencies are those of the last ten seconds."""

    throughput: Series
    failure_rate: Series
    p50: Series
    p95: Series


def read_history(prefix: Path) -> History:
    """The totals of Locust's `<prefix>_stats_history.csv`."""
    with prefix.with_name(f"{prefix.name}_stats_history.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["Name"] == TOTAL]
    start = int(lines[0]["Timestamp"]) if lines else 0

    def series(column: str, scale: float = 1.0) -> Series:
        return [
            (int(line["Timestamp"]) - start, float(line[column]) * scale)
            for line in lines
            if line[column] != "N/A"
        ]

    return History(
        series("Requests/s"), series("Failures/s"), series("50%", 1e-3), series("95%", 1e-3)
    )


def table(rows: Sequence[RequestStats]) -> str:
    """The rows as text; percentiles are of the end-to-end latency."""
    head = f"{'':32}{'requests':>9}{'failed':>8}{'req/s':>8}"
    lines = [head + "".join(f"{f'E2E {p} s':>11}" for p in ("p50", "p95", "p99"))]
    for row in rows:
        times = "".join(f"{row.latency.get(p, float('nan')):11.2f}" for p in ("p50", "p95", "p99"))
        counts = f"{row.requests:9}{row.failures:8}{row.throughput:8.2f}"
        lines.append(f"{row.name[:32]:32}{counts}{times}")
    return "\n".join(lines)


def draw(history: History, watched: Mapping[str, Series], title: str, target: Path) -> None:
    """Throughput, latency and the server's own gauges over time, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    traffic, latency, server = figure.subplots(3, sharex=True)
    figure.suptitle(title)
    _plot(traffic, {"throughput": history.throughput, "failures": history.failure_rate})
    _plot(latency, {"p50": history.p50, "p95": history.p95})
    _plot(server, {name: series for name, series in watched.items() if name != "memory"})
    labels = ("requests per second", "end-to-end latency (s)", "requests")
    for axes, label in zip((traffic, latency, server), labels, strict=True):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", frameon=False)
    server.set_xlabel("seconds")
    figure.savefig(target, dpi=110)


def _plot(axes: object, lines: Mapping[str, Series]) -> None:
    for name, series in lines.items():
        axes.plot(*zip(*series, strict=True), label=name) if series else None  # type: ignore[attr-defined]
