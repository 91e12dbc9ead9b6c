"""`python -m loadtests.compare`: sdrpn beside stock vLLM and other ways to see small print.

Starts stock vLLM and `sdrpn serve` with the same model, flags and threads, and asks both about the
same pages: each arm in turn, in rounds, at several concurrencies, with short answers and with long
ones. Leaves cells.jsonl (every answer), report.json, report.txt and compare.png in --out. The same
command with the same --out goes on where a run was cut short (--minutes cuts one on purpose).
Whatever follows `--` goes to both servers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.compare.arms import Budgets, all_arms
from loadtests.compare.cells import SETTINGS, Results, plan
from loadtests.compare.measuring import Measuring
from loadtests.compare.picture import draw
from loadtests.compare.report import report
from loadtests.compare.servers import running
from loadtests.compare.table import table

REQUESTS = {1: 10, 4: 24, 16: 48}
"""Chats of one cell, by how many are asked at once."""
QUICK = {2: 4}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, then report on all of it."""
    options, flags = _options(sys.argv[1:] if argv is None else argv)
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "cells.jsonl")
    gate = {"peak": options.gate_peak, "area": options.gate_area}
    budgets = Budgets(options.base_tokens, options.crop_tokens, tuple(options.more_tokens), gate)
    arms = {arm.name: arm for arm in all_arms(budgets)}
    if options.arms:
        arms = {name: arms[name] for name in options.arms}
    requests = QUICK if options.quick else {c: REQUESTS[c] for c in options.at_once}
    rounds = 1 if options.quick else options.rounds
    cells = [
        cell
        for cell in plan(options.settings, list(requests), rounds, list(arms))
        if cell not in results
    ]
    given = {"stock": options.stock, "sdrpn": options.url}
    urls = {name: url.rstrip("/") for name, url in given.items() if url}
    if cells:
        with running(options.out, options.model, flags, urls) as servers:
            measuring = Measuring(servers, arms, requests)
            measuring.warm_up()
            until = time.monotonic() + 60 * options.minutes
            for done, cell in enumerate(cells):
                if time.monotonic() > until:
                    print(f"{len(cells) - done} cells are left; the same command measures them")
                    break
                measured = measuring.measure(cell)
                results.add(measured)
                print(
                    f"[{done + 1}/{len(cells)}] {cell.setting}, {cell.at_once} at once, "
                    f"round {cell.round}: {cell.arm}: {measured.per_second:.2f}/s, "
                    f"{sum(measured.right)}/{len(measured.right)} right",
                    flush=True,
                )
    found = report(results, arms)
    shown = table(found)
    print(shown)
    (options.out / "report.txt").write_text(shown + "\n")
    (options.out / "report.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
    draw(
        found,
        f"base views of {options.base_tokens}, crops of {options.crop_tokens} tokens",
        options.out / "compare.png",
    )
    return 0


def _options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    flags = list(argv[len(own) + 1 :])
    parser = argparse.ArgumentParser(
        "python -m loadtests.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [setting.name for setting in SETTINGS]
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/compare"), metavar="FOLDER")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--minutes", type=float, default=float("inf"), help="measure for so long, then report")
    add("--quick", action="store_true", help="one small round: does everything work?")
    add("--arms", nargs="+", metavar="ARM", help="default: all")
    add("--settings", nargs="+", choices=names, default=names)
    add("--at-once", nargs="+", type=int, choices=list(REQUESTS), default=list(REQUESTS))
    add("--base-tokens", type=int, default=64, help="of every arm's base view")
    add("--crop-tokens", type=int, default=64)
    add("--more-tokens", type=int, nargs="*", default=[256, 1024], help="`plain` with these too")
    add("--gate-peak", type=float, default=0.0, help="`gate`: see docs/api.md")
    add("--gate-area", type=float, default=1.0)
    add("--model", help="default: the shipped one")
    add("--stock", metavar="URL", help="a running server of stock vLLM; none is started")
    add("--url", metavar="URL", help="a running `sdrpn serve --research`; none is started")
    return parser.parse_args(own), flags


if __name__ == "__main__":
    sys.exit(main())
