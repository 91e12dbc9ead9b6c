"""Unseen kinds of pages: RPNs made from tags or from circles, measured on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from demo.study.answers import Answers, Region
from demo.study.bench import Arm, Bench, Trained
from demo.study.data import spread
from demo.study.kinds import PAGE_KINDS, write_kinds

KINDS_SEED = 607
LEARNT, TESTED = 250, 100
"""Pages of each kind, to learn from and to measure on."""

ASKED = 20
"""Of each kind's tested pages: those that are answered, too."""

SEEDS = 2
STEPS = 100
"""Nine times over the pages of an arm."""

GROUPS = {
    "tags": [kind.name for kind in PAGE_KINDS.values() if kind.asked == "tags"],
    "circles": [kind.name for kind in PAGE_KINDS.values() if kind.asked == "signs"],
}


def open_bench(folder: Path, model: Path) -> Bench:
    """LEARNT and TESTED pages of every kind."""
    pages = folder / "pages" / "pages.jsonl"
    if not pages.exists():
        write_kinds(KINDS_SEED, LEARNT + TESTED, pages.parent)
    return Bench(folder, pages, model)


def arms(bench: Bench) -> Iterator[Arm]:
    """From either group of kinds, measured on all."""
    each = LEARNT + TESTED
    first = {kind: place * each for place, kind in enumerate(PAGE_KINDS)}
    tested = tuple(n for start in first.values() for n in range(start + LEARNT, start + each))
    for name, kinds in GROUPS.items():
        asked = tuple(n for kind in kinds for n in range(first[kind], first[kind] + LEARNT))
        for seed in range(SEEDS):
            yield Arm(f"{name}, seed {seed}", asked, tested, seed, STEPS)


def study(bench: Bench) -> str:
    """Trains and asks; the table: things covered, and right answers."""
    trained = {arm.name: bench.train(arm) for arm in arms(bench)}
    tested = list(next(iter(trained.values())).even.regions)
    asked = [n for place, n in enumerate(tested) if place % TESTED < ASKED]
    truth: dict[int, Region] = {n: list(map(int, bench.rows[n]["box"])) for n in tested}
    answers = Answers(bench, asked)
    answers.ask(dict.fromkeys(tested), truth, *(f.even.regions for f in trained.values()))
    head = [f"made from {source}" for source in GROUPS]
    lines = ["| measured on | base view | true box | " + " | ".join(head) + " |"]
    lines.append("|---" * (len(head) + 3) + "|")
    for name, kinds in [*((k, [k]) for k in PAGE_KINDS), *((g, ks) for g, ks in GROUPS.items())]:
        mine = [n for n in tested if bench.rows[n]["kind"] in kinds]
        bounds: list[dict[int, Region]] = [dict.fromkeys(mine), {n: truth[n] for n in mine}]
        cells = [f"{answers.right(regions):.2f}" for regions in bounds]
        for source in GROUPS:
            found = [trained[f"{source}, seed {seed}"] for seed in range(SEEDS)]
            covered = spread([bench.covered(mine, f.even.regions) for f in found])
            right = spread([answers.right(_only(f, mine)) for f in found])
            cells.append(f"{covered}; {right}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _only(trained: Trained, pages: list[int]) -> dict[int, Region]:
    return {n: trained.even.regions[n] for n in pages}
