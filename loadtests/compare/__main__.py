"""`python -m loadtests.compare`: sdrpn beside stock vLLM and other methods for small detail.

Starts stock vLLM and `sdrpn serve` with the same model, flags and threads, and sends both chats
about the same pages: each arm in turn, in rounds, at several concurrencies, with short and with
long answers. Writes cells.jsonl (every answer), report.json, report.txt and compare.png to --out.
The same command with the same --out continues an interrupted run (--minutes interrupts it on
purpose). Arguments after `--` are flags of both servers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from loadtests.compare.analysis.chart import draw
from loadtests.compare.analysis.report import report
from loadtests.compare.analysis.table import table
from loadtests.compare.arms import Arm, Budgets, all_arms
from loadtests.compare.capacity import capacity_table
from loadtests.compare.cells import SETTINGS, Cell, Results, plan
from loadtests.compare.measurement import Measurement
from loadtests.compare.options import parse
from loadtests.compare.servers import running
from loadtests.compare.shapes import SHAPES, write_model

QUICK = 2
"""The concurrency of a quick run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, then report on all of it."""
    options, flags = parse(sys.argv[1:] if argv is None else argv, str(__doc__))
    if options.quick:
        options.concurrency, options.rounds = [QUICK], 1
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "cells.jsonl")
    arms = _arms(options)
    cells = list(plan(options.settings, options.concurrency, options.rounds, list(arms)))
    missing = [cell for cell in cells if cell not in results]
    if missing and options.minutes:
        _measure(options, flags, arms, missing, results)
    _report(options, arms, results)
    return 0


def _arms(options: argparse.Namespace) -> dict[str, Arm]:
    budgets = Budgets(
        base=options.base_tokens,
        crop=options.crop_tokens,
        more=tuple(options.more_tokens),
        forced=options.model_shape is not None,
    )
    arms = {arm.name: arm for arm in all_arms(budgets)}
    unknown = set(options.arms or ()) - set(arms)
    if unknown:
        sys.exit(f"no arm {', '.join(sorted(unknown))}; there are: {', '.join(arms)}")
    return {name: arms[name] for name in options.arms or arms}


def _measure(
    options: argparse.Namespace,
    flags: Sequence[str],
    arms: Mapping[str, Arm],
    cells: Sequence[Cell],
    results: Results,
) -> None:
    with _measurement(options, flags, arms) as measurement:
        longest = max([options.base_tokens, *options.more_tokens]) + SETTINGS[-1].tokens
        print(capacity_table(measurement.servers.logs, longest), flush=True)
        until = time.monotonic() + 60 * options.minutes
        for done, cell in enumerate(cells):
            if time.monotonic() > until:
                print(f"{len(cells) - done} cells are left; the same command measures them")
                return
            result = measurement.measure(cell)
            results.add(result)
            print(
                f"[{done + 1}/{len(cells)}] {cell.setting}, concurrency {cell.concurrency}, round "
                f"{cell.round}: {cell.arm}: {result.throughput:.2f} req/s, "
                f"{sum(result.correct)}/{len(result.correct)} correct",
                flush=True,
            )


@contextmanager
def _measurement(
    options: argparse.Namespace, flags: Sequence[str], arms: Mapping[str, Arm]
) -> Iterator[Measurement]:
    """Of both servers, running and warm."""
    model = options.model
    if options.model_shape:
        model = str(write_model(SHAPES[options.model_shape], options.out / "model"))
    round_pages = max(s.chats(level) for s in SETTINGS for level in options.concurrency)
    with running(options.out, model, flags) as servers:
        measurement = Measurement(servers, arms, round_pages, options.share)
        measurement.warm_up()
        yield measurement


def _report(options: argparse.Namespace, arms: Mapping[str, Arm], results: Results) -> None:
    measured = report(results, arms)
    text = table(measured)
    print(text)
    contents = {"command": " ".join(sys.argv[1:]), "report": asdict(measured)}
    out: Path = options.out
    (out / "report.txt").write_text(text + "\n")
    (out / "report.json").write_text(json.dumps(contents, indent=1) + "\n")
    model = options.model_shape or options.model or "the shipped model"
    budgets = f"base views of {options.base_tokens}, crops of {options.crop_tokens} tokens"
    draw(measured, f"{model}, {budgets}", out / "compare.png")
    print(f"wrote report.json, report.txt and compare.png to {out}")


if __name__ == "__main__":
    sys.exit(main())
