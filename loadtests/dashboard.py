"""`python -m loadtests.dashboard`: deploy's Grafana dashboard, drawn without Grafana.

A Prometheus is started that scrapes --url; a soak of --time goes there; then every panel of
dashboard.json is drawn from its own queries with matplotlib, for readers of the runbook. Colours
and letters are not Grafana's; queries, titles, units and places are the dashboard's.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from demo.endpoint import free_port
from loadtests.prometheus import DEPLOY, running_prometheus

_RATE_OVER = "30s"
_STEP = 5
"""Seconds between two points."""

Lines = dict[str, list[tuple[float, float]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Send the load, draw the dashboard; the status is the soak's."""
    options = _parser().parse_args(argv)
    target = options.url.partition("://")[2].rstrip("/")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_prometheus(target, free_port(), Path(folder)) as prometheus,
    ):
        began = time.time()
        load = ["soak", "--url", options.url, "--users", str(options.users), "--time", options.time]
        here = [*load, "--out", str(options.out.parent / "load")]
        soak = subprocess.run([sys.executable, "-m", "loadtests", *here], check=False)
        load_told = f"a soak of {options.time} with {options.users} users"
        draw(prometheus, began, time.time(), load_told, options.out)
    return soak.returncode


def draw(prometheus: str, began: float, ended: float, load: str, target: Path) -> None:
    """Every panel, over the seconds from `began` to `ended` (Unix time), into a PNG at `target`."""
    panels = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    unit = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(15, unit * 0.36))
    head = 0.6 / figure.get_figheight()
    figure.text(
        0.01,
        1 - head / 3,
        f"deploy/prometheus/dashboard.json, drawn by `python -m loadtests.dashboard` ({load}); "
        "not a picture of Grafana. Across: seconds.",
        va="center",
    )
    for panel in panels:
        at = panel["gridPos"]
        top = (1 - head) * (1 - at["y"] / unit)
        if panel["type"] == "row":
            figure.text(0.01, top - 0.3 / unit, panel["title"], va="top", weight="bold", size=13)
            continue
        height = (1 - head) * at["h"] / unit
        box = (at["x"] / 24 + 0.04, top - height * 0.8, at["w"] / 24 - 0.055, height * 0.62)
        axes = figure.add_axes(box)
        _draw_panel(axes, panel, _lines(prometheus, panel, began, ended))
    figure.savefig(target, dpi=72)


def _lines(prometheus: str, panel: Any, began: float, ended: float) -> Lines:
    """By legend: seconds since the beginning, and the value."""
    lines: Lines = {}
    for query in panel["targets"]:
        text = query["expr"].replace("$__rate_interval", _RATE_OVER).replace("$namespace", ".*")
        span = {"query": text, "start": began, "end": ended, "step": _STEP}
        answer = httpx.get(f"{prometheus}/api/v1/query_range", params=span).raise_for_status()
        for series in answer.json()["data"]["result"]:
            name = query["legendFormat"]
            for label, value in series["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            points = [(at - began, float(value)) for at, value in series["values"]]
            lines[name] = [(at, value) for at, value in points if math.isfinite(value)]
    return lines


def _draw_panel(axes: Axes, panel: Any, lines: Lines) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.set_title(panel["title"], loc="left", size=10)
    shown = {name: line for name, line in lines.items() if any(value for _, value in line)}
    if "stacking" in defaults["custom"] and shown:
        times = sorted({at for line in shown.values() for at, _ in line})
        values = [[dict(line).get(at, 0.0) for at in times] for line in shown.values()]
        axes.stackplot(times, *values, labels=list(shown), alpha=0.6)
    else:
        for name, line in shown.items():
            axes.plot(*zip(*line, strict=True), label=name, linewidth=1)
    if not shown:
        axes.text(0.5, 0.5, "0 throughout", transform=axes.transAxes, ha="center", color="grey")
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    unit = {"s": " s", "reqps": " /s", "percentunit": "%"}.get(defaults["unit"], "")
    scale = 100 if unit == "%" else 1
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * scale:g}{unit}"))
    if shown:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=3, fontsize=7, frameon=False
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests.dashboard", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--users", type=int, default=7, help="at once (default: %(default)s)")
    parser.add_argument("--time", default="3m", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/dashboard.png"), metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
