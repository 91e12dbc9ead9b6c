"""`python -m loadtests SCENARIO ...`: load on a running endpoint, a report, and a verdict.

SCENARIO is one or more of the classes in locustfile.py, "all", or "soak" (all of them, for 30
minutes unless --time is given). --out gets Locust's report.html and CSV files, and load.png. The
exit status is 1 if a threshold is exceeded or requests stay behind on the server.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests.locust_results import draw, read_history, read_stats, table
from loadtests.verdict import memory_growth, read_thresholds, violations
from loadtests.watch import watching

HERE = Path(__file__).resolve().parent
LOCUSTFILE = HERE / "locustfile.py"
# Read, not imported: Locust would put gevent's sockets and threads into this process.
SCENARIOS = tuple(
    node.name
    for node in ast.parse(LOCUSTFILE.read_text()).body
    if isinstance(node, ast.ClassDef) and "PageUser" in map(ast.unparse, node.bases)
)
_IDLE_WITHIN = 60.0
"""Seconds after the load in which the server must have ended every request."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scenarios; 0 if they stay within the thresholds."""
    options = _parser().parse_args(argv)
    everything = bool({"all", "soak"} & set(options.scenario))
    scenarios = SCENARIOS if everything else options.scenario
    time = options.time or ("30m" if "soak" in options.scenario else "60s")
    thresholds = read_thresholds(options.thresholds)
    options.out.mkdir(parents=True, exist_ok=True)

    prefix = options.out / "locust"
    with watching(options.metrics or f"{options.url}/metrics") as watch:
        _locust(scenarios, time, prefix, options)
        left = watch.left_behind(_IDLE_WITHIN)
    rows = read_stats(prefix)
    title = f"{', '.join(options.scenario)}: {options.users} users, {time}"
    draw(read_history(prefix), watch.samples, title, options.out / "load.png")
    print(table(rows))
    print(f"report: {options.out}/report.html, {options.out}/load.png")
    if growth := memory_growth(watch.samples.get("memory", [])):
        print(f"the API process's memory, its end over a quarter of the run: {growth:.2f}")
    violated = violations(thresholds, rows, watch.samples)
    violated += [f"{value:g} requests stayed behind: {name}" for name, value in left.items()]
    for line in violated:
        print(f"VIOLATED  {line}")
    return 1 if violated else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m loadtests", description=__doc__)
    parser.add_argument("scenario", nargs="+", choices=[*SCENARIOS, "all", "soak"])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--metrics", metavar="URL", help="default: /metrics of --url")
    parser.add_argument("--users", type=int, default=4, help="concurrency (default: %(default)s)")
    parser.add_argument("--time", help="such as 90s, 30m, 8h (default: 60s; soak: 30m)")
    parser.add_argument("--model", default="", help="default: the first that is served")
    parser.add_argument("--thresholds", type=Path, default=HERE / "thresholds.toml", metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("runs/load"), metavar="FOLDER")
    return parser


def _locust(scenarios: Sequence[str], time: str, prefix: Path, options: argparse.Namespace) -> None:
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *scenarios),
        *("--headless", "--host", options.url.rstrip("/"), "--run-time", time),
        *("--users", str(options.users), "--spawn-rate", str(options.users)),
        *("--stop-timeout", "120", "--exit-code-on-error", "0", "--only-summary"),
        *("--csv", str(prefix), "--csv-full-history"),
        *("--html", str(prefix.with_name("report.html"))),
        *("--model", options.model),
    ]
    with prefix.with_suffix(".log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=log, cwd=HERE.parent, check=False)
    if done.returncode != 0:
        sys.exit(f"locust failed:\n{prefix.with_suffix('.log').read_text()[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
