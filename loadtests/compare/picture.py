"""The report as a picture: how fast each arm is beside `plain`, and how often it is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loadtests.compare.report import PLAIN, Report, Row

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
        _bars(ax, arms, [row for row in report.rows if row.setting == setting])
        ax.set_title(f"{setting}: requests per second beside plain", loc="left", fontsize=10)
    figure.savefig(target, dpi=110)


def _arms(rows: Sequence[Row]) -> list[str]:
    """All but `plain`, in the order of wherever most were measured."""
    counts = Counter((row.setting, row.at_once) for row in rows)
    fullest_first = sorted(rows, key=lambda row: -counts[row.setting, row.at_once])
    return [arm for arm in dict.fromkeys(row.arm for row in fullest_first) if arm != PLAIN]


def _bars(ax: object, arms: list[str], rows: list[Row]) -> None:
    levels = sorted({row.at_once for row in rows})
    width = 0.8 / len(levels)
    labelled: set[int] = set()
    for place, at_once in enumerate(levels):
        for row in rows:
            if row.at_once != at_once or row.arm == PLAIN or row.to_plain is None:
                continue
            x = arms.index(row.arm) + (place - (len(levels) - 1) / 2) * width
            found = row.to_plain
            spread = [[found.median - found.least], [found.greatest - found.median]]
            label = None if at_once in labelled else f"{at_once} at once"
            labelled.add(at_once)
            colour = _COLOURS.get(at_once, "#6baed6")
            ax.bar(  # type: ignore[attr-defined]
                x, found.median, width * 0.92, yerr=spread, color=colour, label=label, capsize=2
            )
            if row.limit:
                limits = [row.limit, row.limit]
                ax.plot([x - width / 2, x + width / 2], limits, color="black")  # type: ignore[attr-defined]
    names = ["\n".join((*arm.split(": "), _right(arm, rows))) for arm in arms]
    ax.axhline(1.0, color="grey", linewidth=0.8)  # type: ignore[attr-defined]
    ax.plot([], [], color="black", label="what tokens allow")  # type: ignore[attr-defined]
    ax.set_xticks(range(len(arms)), names, fontsize=8)  # type: ignore[attr-defined]
    ax.grid(axis="y", alpha=0.3)  # type: ignore[attr-defined]
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))  # type: ignore[attr-defined]


def _right(arm: str, rows: list[Row]) -> str:
    """How often its answers were right, where most were given."""
    measured = [row for row in rows if row.arm == arm]
    return f"{max(measured, key=lambda row: row.answers).right:.0%} right" if measured else ""
