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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from loadtests.compare.arms import Arm, Budgets, all_arms
from loadtests.compare.capacity import capacity_table
from loadtests.compare.cells import SETTINGS, Cell, Results, plan
from loadtests.compare.measuring import Measuring
from loadtests.compare.options import parse
from loadtests.compare.picture import draw
from loadtests.compare.report import report
from loadtests.compare.servers import running
from loadtests.compare.shapes import SHAPES, write_model
from loadtests.compare.table import table

QUICK = 2
"""How many chats a quick run has under way at once."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, then report on all of it."""
    options, flags = parse(sys.argv[1:] if argv is None else argv, str(__doc__))
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.out / "cells.jsonl")
    arms = _arms(options)
    at_once, rounds = ([QUICK], 1) if options.quick else (options.at_once, options.rounds)
    cells = list(plan(options.settings, at_once, rounds, list(arms)))
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
        gate=options.gate,
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
    with _measuring(options, flags, arms) as measuring:
        longest = max([options.base_tokens, *options.more_tokens]) + SETTINGS[-1].tokens
        print(capacity_table(measuring.servers.logs, longest), flush=True)
        until = time.monotonic() + 60 * options.minutes
        for done, cell in enumerate(cells):
            if time.monotonic() > until:
                print(f"{len(cells) - done} cells are left; the same command measures them")
                return
            measured = measuring.measure(cell)
            results.add(measured)
            print(
                f"[{done + 1}/{len(cells)}] {cell.setting}, {cell.at_once} at once, round "
                f"{cell.round}: {cell.arm}: {measured.per_second:.2f}/s, "
                f"{sum(measured.right)}/{len(measured.right)} right",
                flush=True,
            )


@contextmanager
def _measuring(
    options: argparse.Namespace, flags: Sequence[str], arms: Mapping[str, Arm]
) -> Iterator[Measuring]:
    """Both servers, warm."""
    model = options.model
    if options.model_shape:
        model = str(write_model(SHAPES[options.model_shape], options.out / "model"))
    with running(options.out, model, flags) as servers:
        measuring = Measuring(servers, arms, options.share)
        measuring.warm_up()
        yield measuring


def _report(options: argparse.Namespace, arms: Mapping[str, Arm], results: Results) -> None:
    found = report(results, arms)
    shown = table(found)
    print(shown)
    told = {"command": " ".join(sys.argv[1:]), "report": asdict(found)}
    out: Path = options.out
    (out / "report.txt").write_text(shown + "\n")
    (out / "report.json").write_text(json.dumps(told, indent=1) + "\n")
    model = options.model_shape or options.model or "the shipped model"
    budgets = f"base views of {options.base_tokens}, crops of {options.crop_tokens} tokens"
    draw(found, f"{model}, {budgets}", out / "compare.png")
    print(f"wrote report.json, report.txt and compare.png in {out}")


if __name__ == "__main__":
    sys.exit(main())
