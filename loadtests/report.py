"""Reads what Locust wrote (its CSV files) and draws it over time."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOTAL = "Aggregated"
"""Locust's name for all requests together."""

Series = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One kind of request: how many, how many failed, and the seconds they took by percentile."""

    name: str
    requests: int
    failures: int
    per_second: float
    seconds: dict[str, float]

    @property
    def failed_share(self) -> float:
        """Failures over requests."""
        return self.failures / self.requests if self.requests else 0.0


def read_rows(prefix: Path) -> list[Row]:
    """The rows of Locust's `<prefix>_stats.csv`, the sum last."""
    with prefix.with_name(f"{prefix.name}_stats.csv").open(newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def _row(line: Mapping[str, str]) -> Row:
    return Row(
        name=line["Name"],
        requests=int(line["Request Count"]),
        failures=int(line["Failure Count"]),
        per_second=float(line["Requests/s"]),
        seconds={
            f"p{p}": float(line[f"{p}%"]) / 1000 for p in (50, 95, 99) if line[f"{p}%"] != "N/A"
        },
    )


@dataclass(frozen=True)
class History:
    """The whole run over time; seconds since its start. Latencies are of the last ten seconds."""

    per_second: Series
    failures_per_second: Series
    p50: Series
    p95: Series


def read_history(prefix: Path) -> History:
    """The sums of Locust's `<prefix>_stats_history.csv`."""
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


def table(rows: Sequence[Row]) -> str:
    """The rows as a table for people."""
    lines = [f"{'':32}{'requests':>9}{'failed':>8}{'per s':>8}{'p50 s':>8}{'p95 s':>8}{'p99 s':>8}"]
    for row in rows:
        times = "".join(f"{row.seconds.get(p, float('nan')):8.2f}" for p in ("p50", "p95", "p99"))
        counts = f"{row.requests:9}{row.failures:8}{row.per_second:8.2f}"
        lines.append(f"{row.name[:32]:32}{counts}{times}")
    return "\n".join(lines)


def draw(history: History, watched: Mapping[str, Series], title: str, target: Path) -> None:
    """Throughput, latency and the server's own gauges over time, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    traffic, latency, server = figure.subplots(3, sharex=True)
    figure.suptitle(title)
    _plot(traffic, {"requests": history.per_second, "failures": history.failures_per_second})
    _plot(latency, {"p50": history.p50, "p95": history.p95})
    _plot(server, {name: series for name, series in watched.items() if name != "memory"})
    for axes, label in ((traffic, "per second"), (latency, "seconds"), (server, "requests")):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", frameon=False)
    server.set_xlabel("seconds")
    figure.savefig(target, dpi=110)


def _plot(axes: object, lines: Mapping[str, Series]) -> None:
    for name, series in lines.items():
        axes.plot(*zip(*series, strict=True), label=name) if series else None  # type: ignore[attr-defined]
