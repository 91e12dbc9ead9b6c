"""How many questions are enough: RPNs from 300, 1000, 3000 and 10,000 of them, three seeds each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch

from demo.pages import write_pages
from demo.study.answers import Answers, Region
from demo.study.bench import STEPS, Arm, Bench, Placed
from rpn_plugin.checkpoint import load_rpn

STUDY_SEED = 606
"""Pages of no other part of the demo."""

QUESTIONS = (300, 1000, 3000, 10000)
SEEDS = 3
TESTED = 500
ASKED = 300
"""Of the tested pages: those that are answered, too."""

PICTURE = "data.png"


def open_bench(folder: Path, model: Path) -> Bench:
    """Pages for the largest arm, and TESTED more that no arm learns from."""
    pages = folder / "pages" / "pages.jsonl"
    if not pages.exists():
        write_pages(STUDY_SEED, max(QUESTIONS) + TESTED, pages.parent)
    return Bench(folder, pages, model)


def arms(bench: Bench) -> Iterator[Arm]:
    """Each seed asks questions of its own and in an order of its own; with all 10,000 only the
    order differs. The last arm learns twice as long: whether the others had come to rest."""
    pool = len(bench.samples) - TESTED
    tested = tuple(range(pool, pool + TESTED))
    for count in QUESTIONS:
        for seed in range(SEEDS):
            order = torch.randperm(pool, generator=torch.Generator().manual_seed(seed))
            asked = tuple(sorted(order[:count].tolist()))
            yield Arm(f"{count} questions, seed {seed}", asked, tested, seed)
    longer = f"{count} questions, seed {seed}, twice the steps"
    yield Arm(longer, asked, tested, seed, 2 * STEPS)


def study(bench: Bench, rpns: Sequence[Path]) -> str:
    """Trains, asks and draws; the table, with a row for each of `rpns`, made elsewhere."""
    trained = [(arm, bench.train(arm)) for arm in arms(bench)]
    tested = trained[0][0].tested
    asked = tested[:ASKED]
    bounds: dict[str, dict[int, Region]] = {
        "base view alone": dict.fromkeys(asked),
        "true box": {n: list(map(int, bench.rows[n]["box"])) for n in asked},
    }
    groups: dict[str, list[tuple[Placed, Placed]]] = {}
    for arm, found in trained:
        steps = "" if arm.steps == STEPS else f", {arm.steps} steps"
        groups.setdefault(f"{len(arm.asked)}{steps}", []).append((found.own, found.even))
    for path in rpns:
        rpn = load_rpn(path)
        groups[str(path)] = [bench.place(rpn.float(), rpn.config.threshold, tested)]
    answers = Answers(bench, asked)
    placed = [even.regions for group in groups.values() for _, even in group]
    answers.ask(*bounds.values(), *placed)
    lines = [f"{name}: right {answers.right(mine):.3f}" for name, mine in bounds.items()]
    draw(groups, answers, bounds, bench.folder / PICTURE)
    return table(groups, answers) + "\n".join(["", *lines]) + "\n"


def table(groups: Mapping[str, Sequence[tuple[Placed, Placed]]], answers: Answers) -> str:
    """Markdown: a row for every group of RPNs, means and all seeds."""
    head = ["made from", "covered", "right answers", "own threshold", "area", "covered at it"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, group in groups.items():
        own, even = zip(*group, strict=True)
        right = spread([answers.right(p.regions) for p in even])
        cells = [name, spread([p.covered for p in even]), right,
                 ", ".join(f"{p.threshold:g}" for p in own), f"{fmean(p.area for p in own):.3f}",
                 spread([p.covered for p in own])]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(shares: Sequence[float]) -> str:
    """`.936 (.930, .934, .944)`: the mean, and every seed's."""
    if not shares:
        return "–"
    each = ", ".join(f"{share:.3f}"[1:] for share in sorted(shares))
    return f"**{fmean(shares):.3f}** ({each})" if len(shares) > 1 else f"{shares[0]:.3f}"


def draw(
    groups: Mapping[str, Sequence[tuple[Placed, Placed]]],
    answers: Answers,
    bounds: Mapping[str, Mapping[int, Region]],
    path: Path,
) -> None:
    """Cover and right answers over the number of questions, where all RPNs' regions are as large:
    every seed a point, means joined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="questions to learn from", ylabel="share of unseen pages")
    curve = {int(name): group for name, group in groups.items() if name.isdigit()}
    lines: dict[str, Callable[[Placed], float]] = {
        "region covers the thing": lambda place: place.covered,
        "right answers": lambda place: answers.right(place.regions),
    }
    for name, value in lines.items():
        found = {count: [value(even) for _, even in group] for count, group in curve.items()}
        [line] = axes.plot(list(found), [fmean(v) for v in found.values()], label=name)
        for count, values in found.items():
            axes.plot([count] * len(values), values, "o", color=line.get_color(), alpha=0.6)
    for (name, mine), style in zip(bounds.items(), (":", "--"), strict=True):
        share = answers.right(mine)
        axes.axhline(share, linestyle=style, color="grey", label=f"right answers, {name}")
    axes.set_xscale("log")
    axes.set_xticks(list(curve), [f"{count:,}" for count in curve])
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", fontsize=9)
    figure.savefig(path, dpi=110)
