"""`--auto`: where the RPN begins and how deep it is, by trying a few of each on fewer questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.samples import DataError
from rpn_plugin.distill.data.shards import write_atomically, write_json
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.evaluation import Evaluation
from rpn_plugin.distill.train.fitting import TrainingSet, fit, rpn_config, states_of

NEARLY = 1.02
"""Losses within this factor of the best are as good: then the shallower RPN is taken, which costs
less to serve, and of those the earlier one."""

DEPTHS = (1, 2, 3)


@dataclass(frozen=True)
class SweepResult:
    """One RPN that was tried. `loss` and `right` on held-out questions; `kept`, `area` and
    `covered` (None without boxes in the data) at its best threshold: see
    evaluation.ThresholdResult."""

    tap_layer: int
    depth: int
    loss: float
    right: float
    threshold: float
    kept: float
    area: float
    covered: float | None


def tap_layers(layers: int) -> tuple[int, ...]:
    """The tap layers to try: five, from a seventh to five sevenths of the model's layers."""
    return tuple(sorted({max(1, round(layers * share / 7)) for share in (1, 2, 3, 4, 5)}))


def sweep(
    base: BaseModel,
    training_set: TrainingSet,
    folder: Path,
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> SweepResult:
    """The best of all tap layers and depths that fit the model; the table is `folder`/table.md.

    What was tried before is not tried again. At any time one RPN is on the device beside `base`,
    which is left as it was. Raises DataError if no questions are held out.
    """
    few = dataclasses.replace(
        training_set, train_items=training_set.train_items[: settings.sweep_samples]
    )
    total = len(base.layers)
    taps = [settings.tap_layer] if settings.tap_layer else tap_layers(total)
    results: list[SweepResult] = []
    for tap in sorted(taps, reverse=True):
        with base.only_layers(tap):
            states = states_of(base, few, folder / f"states-B{tap}", settings, processes, log)
        for depth in (depth for depth in DEPTHS if tap + depth <= total):
            rpn = base.new_rpn(rpn_config(base, settings, tap, depth))
            there = folder / f"B{tap}-R{depth}"
            with base.only_layers(tap):
                measured = fit(rpn, few, states, there, settings, processes, log)
            del rpn  # before the next one is made: each takes a gigabyte a layer in a 7B model
            results.append(_row(tap, depth, measured))
            log.say(f"B {tap}, R {depth}: loss {measured.loss:.4f}")
    best = choose(results)
    if processes.first:
        write_json(folder / "tried.json", [asdict(row) for row in results])
        write_atomically(folder / "table.md", table(results, best).encode())
        log.say(f"chosen: tap layer {best.tap_layer}, depth {best.depth}")
    return best


def choose(results: Sequence[SweepResult]) -> SweepResult:
    """The shallowest, then earliest, of those whose loss is as good as the best one's."""
    least = min(row.loss for row in results)
    good = [row for row in results if row.loss <= least * NEARLY]
    return min(good, key=lambda row: (row.depth, row.tap_layer))


def table(results: Sequence[SweepResult], best: SweepResult) -> str:
    """Markdown, a row for each RPN."""
    lines = [
        "| tap layer B | depth R | loss | cells right | foreground kept | region's share | "
        "true box covered | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(results, key=lambda r: (r.tap_layer, r.depth)):
        covered = "" if row.covered is None else f"{row.covered:.1%}"
        mark = "chosen" if row == best else ""
        lines.append(
            f"| {row.tap_layer} | {row.depth} | {row.loss:.4f} | {row.right:.1%} | {row.kept:.1%} "
            f"| {row.area:.1%} | {covered} | {mark} |"
        )
    return "\n".join(lines) + "\n"


def _row(tap_layer: int, depth: int, measured: Evaluation) -> SweepResult:
    best = measured.best()
    if best is None:
        raise DataError("--auto needs held-out questions: give more data, or a larger validation")
    return SweepResult(
        tap_layer, depth, measured.loss, measured.right, best.threshold, best.kept, best.area,
        best.covered,
    )  # fmt: skip
