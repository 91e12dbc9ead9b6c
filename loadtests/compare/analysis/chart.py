"""The report as a chart: the throughput of each arm relative to `plain`, and its accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loadtests.compare.analysis.report import PLAIN, Report, Row

_COLOURS = {1: "#9ecae1", 4: "#4292c6", 16: "#084594"}


def draw(report: Report, title: str, target: Path) -> None:
    """Writes a PNG: bars of the ratio to `plain` with their spread, one group for each arm."""
    from matplotlib.figure import Figure

    settings = list(dict.fromkeys(row.setting for row in report.rows))
    figure = Figure(figsize=(10, 1 + 3.4 * len(settings)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(settings), squeeze=False)[:, 0]
    arms = _arms(report.rows)
    for ax, setting in zip(axes, settings, strict=True):
        rows = [row for row in report.rows if row.setting == setting]
        _bars(ax, arms, rows)
        ax.set_title(f"{setting} ({_output(rows)}): throughput ÷ plain", loc="left", fontsize=10)
    figure.savefig(target, dpi=110)


def _arms(rows: Sequence[Row]) -> list[str]:
    """All but `plain`, in the order of the setting and concurrency that has most of them."""
    counts = Counter((row.setting, row.concurrency) for row in rows)
    fullest_first = sorted(rows, key=lambda row: -counts[row.setting, row.concurrency])
    return [arm for arm in dict.fromkeys(row.arm for row in fullest_first) if arm != PLAIN]


def _output(rows: Sequence[Row]) -> str:
    return f"{rows[0].tokens.decoded:.0f} output tokens"


def _bars(ax: object, arms: list[str], rows: list[Row]) -> None:
    levels = sorted({row.concurrency for row in rows})
    width = 0.8 / len(levels)
    labelled: set[int] = set()
    for place, concurrency in enumerate(levels):
        for row in rows:
            ratio = row.relative_throughput
            if row.concurrency != concurrency or row.arm == PLAIN or ratio is None:
                continue
            x = arms.index(row.arm) + (place - (len(levels) - 1) / 2) * width
            spread = [[ratio.median - ratio.least], [ratio.greatest - ratio.median]]
            label = None if concurrency in labelled else f"concurrency {concurrency}"
            labelled.add(concurrency)
            colour = _COLOURS.get(concurrency, "#6baed6")
            ax.bar(  # type: ignore[attr-defined]
                x, ratio.median, width * 0.92, yerr=spread, color=colour, label=label, capsize=2
            )
            if row.limit:
                limits = [row.limit, row.limit]
                ax.plot([x - width / 2, x + width / 2], limits, color="black")  # type: ignore[attr-defined]
    names = ["\n".join((*arm.split(": "), _correct(arm, rows))) for arm in arms]
    ax.axhline(1.0, color="grey", linewidth=0.8)  # type: ignore[attr-defined]
    ax.plot([], [], color="black", label="limit by token counts")  # type: ignore[attr-defined]
    ax.set_xticks(range(len(arms)), names, fontsize=8)  # type: ignore[attr-defined]
    ax.grid(axis="y", alpha=0.3)  # type: ignore[attr-defined]
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))  # type: ignore[attr-defined]


def _correct(arm: str, rows: list[Row]) -> str:
    """The share of correct answers, at the concurrency with most of them."""
    measured = [row for row in rows if row.arm == arm]
    if not measured:
        return ""
    return f"{max(measured, key=lambda row: row.answers).correct:.0%} correct"
