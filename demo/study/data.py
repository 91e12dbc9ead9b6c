"""How many questions are enough: RPNs from 300, 1000, 3000 and 10,000 of them, three seeds each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch

from demo.pages import write_pages
from demo.study.answers import Answers, Region
from demo.study.bench import STEPS, Arm, Bench, Placed, Trained, at_area
from rpn_plugin.checkpoint import load_rpn

STUDY_SEED = 606
"""Pages of no other part of the demo."""

QUESTIONS = (300, 1000, 3000, 10000)
SEEDS = 3
TESTED = 500
PICTURE = "data.png"


@dataclass(frozen=True)
class Point:
    """One RPN: what it was made from and what it came to; `right` is None where nobody asked."""

    asked: int
    steps: int
    trained: Trained
    right: float | None


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


def study(bench: Bench, url: str | None, rpns: Sequence[Path]) -> str:
    """Trains, asks and draws; the table, with a line for each of `rpns`, which were made elsewhere.

    Without `url` nobody is asked and nothing drawn.
    """
    trained = [(arm, bench.train(arm)) for arm in arms(bench)]
    tested = trained[0][0].tested
    bounds: dict[str, dict[int, Region]] = {
        "base view alone": dict.fromkeys(tested),
        "true box": {n: list(map(int, bench.rows[n]["box"])) for n in tested},
    }
    others = {str(path): _placed(bench, path, tested) for path in rpns}
    right: dict[str, float] = {}
    if url:
        answers = Answers(bench, url)
        regions = {
            **bounds,
            **{name: placed.regions for name, (placed, _) in others.items()},
            **{arm.name: found.regions for arm, found in trained},
        }
        answers.ask(pair for mine in regions.values() for pair in mine.items())
        right = {name: answers.right(mine) for name, mine in regions.items()}
    points = [
        Point(len(arm.asked), arm.steps, found, right.get(arm.name)) for arm, found in trained
    ]
    if url:
        curve = [point for point in points if point.steps == STEPS]
        draw(curve, {name: right[name] for name in bounds}, bench.folder / PICTURE)
    lines = [f"{name}: right {right[name]:.3f}" for name in bounds if name in right]
    for name, (placed, threshold) in others.items():
        found = placed.measured.at(threshold)
        at_seventh = at_area(placed.measured, "covered")
        said = f"{right[name]:.3f}" if name in right else "–"
        lines.append(
            f"{name}: covered {found.covered:.3f}, area {found.area:.3f}, covered at a seventh "
            f"{at_seventh:.3f}, right {said}"
        )
    return table(points) + "\n".join(["", *lines]) + "\n"


def _placed(bench: Bench, path: Path, tested: Sequence[int]) -> tuple[Placed, float]:
    """The regions of an RPN in a folder, at its own threshold."""
    rpn = load_rpn(path)
    return bench.place(rpn.float(), rpn.config.threshold, tested), rpn.config.threshold


def table(points: Sequence[Point]) -> str:
    """Markdown: a row for every number of questions and steps, means and all seeds."""
    head = (
        "| questions | steps | with labels | things covered by 80 % | region's share of the page "
    )
    head += "| covered at a seventh of the page | right answers |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for asked, steps in dict.fromkeys((p.asked, p.steps) for p in points):
        mine = [p for p in points if (p.asked, p.steps) == (asked, steps)]
        found = [p.trained for p in mine]
        rights = [p.right for p in mine if p.right is not None]
        lines.append(
            f"| {asked} | {steps} | {fmean(f.learnt for f in found):.0f} "
            f"| {spread([f.covered for f in found])} | {fmean(f.area for f in found):.3f} "
            f"| {spread([f.covered_at_area for f in found])} | {spread(rights)} |"
        )
    return "\n".join(lines) + "\n"


def spread(shares: Sequence[float]) -> str:
    """`.936 (.930, .934, .944)`: the mean, and every seed's."""
    if not shares:
        return "–"
    each = ", ".join(f"{share:.3f}"[1:] for share in sorted(shares))
    return f"**{fmean(shares):.3f}** ({each})" if len(shares) > 1 else f"{shares[0]:.3f}"


def draw(points: Sequence[Point], bounds: dict[str, float], path: Path) -> None:
    """Cover and right answers over the number of questions: every seed a point, means joined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="questions to learn from", ylabel="share of 500 unseen pages")
    counts = sorted({point.asked for point in points})
    lines = {
        "region covers the thing": [(p.asked, p.trained.covered) for p in points],
        "right answers": [(p.asked, p.right) for p in points if p.right is not None],
    }
    for name, places in lines.items():
        means = [fmean(y for x, y in places if x == count) for count in counts]
        [line] = axes.plot(counts, means, label=f"{name} (mean of {SEEDS} seeds)")
        axes.plot(*zip(*places, strict=True), "o", color=line.get_color(), alpha=0.6)
    for (name, share), style in zip(bounds.items(), (":", "--"), strict=True):
        axes.axhline(share, linestyle=style, color="grey", label=f"right answers, {name}")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    figure.savefig(path, dpi=110)
