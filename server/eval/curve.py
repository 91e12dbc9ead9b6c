"""Accuracy against throughput, one line a condition, one point a base token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SIZE = (7.2, 4.6)
"""Inches."""

_CORNERS = ((5, 5), (5, -13), (-20, -13), (-20, 5))
"""Offsets in points of the budgets beside a line's points, one for each line."""


@dataclass(frozen=True)
class Point:
    """`x` questions a second, `y` score 0 to 1, `label` the budget."""

    line: str
    x: float
    y: float
    label: str


def draw_curve(points: Sequence[Point], title: str, path: Path) -> None:
    """Draws the points of each line, joined in order of throughput, each with its budget.

    The suffix of `path` names the file format.
    """
    from matplotlib.figure import Figure  # from the `eval` extra

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="questions a second", ylabel="score")
    for number, line in enumerate(dict.fromkeys(point.line for point in points)):
        joined = sorted((p for p in points if p.line == line), key=lambda p: p.x)
        [drawn] = axes.plot([p.x for p in joined], [p.y for p in joined], marker="o", label=line)
        drawn.set_gid(line)
        offset = _CORNERS[number % len(_CORNERS)]
        for point in joined:
            axes.annotate(
                point.label, (point.x, point.y), textcoords="offset points", xytext=offset,
                color=drawn.get_color(), fontsize=9,
            )  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    if points:
        figure.legend(loc="outside lower center", ncols=4)
    figure.savefig(path)
