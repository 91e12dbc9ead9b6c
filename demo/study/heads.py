"""Which heads and which labels teach best: a grid of arms on the same pages.

Every head's attention and the states before the RPN are computed once and kept; each arm then makes
labels of its own from them and trains an RPN of its own. True boxes are used for measuring, and by
the arms that are called oracles.

- heads: found without boxes, as a set or each for itself, all of the middle layers, every single
  layer (the best of them is an oracle's choice), the three best heads by an oracle;
- labels: the published ones and each departure from them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo.pages import BASE_TOKENS, write_pages
from demo.rpn_stage import SETTINGS
from demo.study.bench import AREA, LABELS
from demo.study.data import STUDY_SEED, spread
from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.chats import chats_of, chunks
from rpn_plugin.distill.fitting import Lessons, fit, rpn_config, states_of
from rpn_plugin.distill.formats import read_samples
from rpn_plugin.distill.heads import Heads, all_heads, grouped, middle_heads, show_heads
from rpn_plugin.distill.label_step import Labelled, label_settings
from rpn_plugin.distill.labels import LabelOptions, pseudo_labels
from rpn_plugin.distill.measure import Measured
from rpn_plugin.distill.processes import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.read_attention import answers_of
from rpn_plugin.distill.samples import Sample
from rpn_plugin.distill.shards import Shards, write_json
from rpn_plugin.distill.source import choose_source
from server.views import base_picture

QUESTIONS = 300
HELD_OUT = 150

STEPS = 100
SEEDS = 3


@dataclass(frozen=True)
class Arm:
    """One way to make labels: `heads` and `rows` of attention, `options`."""

    name: str
    heads: Heads
    rows: str
    options: LabelOptions = LABELS
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What an arm came to. `labelled`: questions that got labels. `precision`: labelled foreground
    cells that touch the thing asked for. On held-out pages, where regions are as large as AREA
    (between two thresholds, in proportion): `covered`, things covered by 80 %, and `kept` of the
    labels' foreground."""

    arm: str
    heads: str
    rows: str
    questions: int
    seed: int
    labelled: float
    precision: float
    covered: float
    kept: float


class Ground:
    """Pages, every head's maps and the states, made once; arms on them."""

    def __init__(self, folder: Path, questions: int, model: Path) -> None:
        self.folder = folder / f"{questions}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = Log(self.folder / "study.log", speaks=True)
        self._alone = Processes(0, 1, torch.device("cpu"))
        pages = self.folder / "pages" / "pages.jsonl"
        if not pages.exists():
            write_pages(STUDY_SEED, questions + HELD_OUT, pages.parent)
        self.samples = read_samples(pages)[0]
        self.base = BaseModel.load(
            model, base_picture, BASE_TOKENS, device=self._alone.device, dtype=torch.bfloat16
        )
        self.layers, self.heads = len(self.base.layers), self.base.heads
        self.made_with = label_settings(SETTINGS, self.samples, self.base.fingerprint())
        self._fresh = self.base.new_rpn(rpn_config(self.base, SETTINGS, 1, 2))

    @cached_property
    def found(self) -> tuple[Heads, str]:
        """Heads and rows that `--heads auto` chooses."""
        source = choose_source(
            self.base, self.samples, SETTINGS, self.made_with, self._record, self._alone, self.log,
        )  # fmt: skip
        return source.grounding, source.queries

    def best_alone(self, count: int) -> Heads:
        """The heads that score best each by itself, without boxes."""
        _ = self.found  # writes the record
        alone = torch.tensor(json.loads(self._record.read_text())["alone"])
        best = alone.flatten().argsort(descending=True, stable=True)[:count].tolist()
        return grouped([divmod(place, self.heads) for place in best])

    @property
    def _record(self) -> Path:
        return self.folder / "heads.json"

    @cached_property
    def maps(self) -> dict[str, list[Tensor]]:
        """By rows of attention, for every page float16 [layers, heads, rows, cols]."""
        pieces = chunks(range(len(self.samples)), 50)
        shards = Shards(self.folder / "maps", len(pieces), self.made_with)
        bar = self.log.bar("maps of all heads", len(self.samples))
        for number in shards.missing():
            shards.write(number, self._read_maps(pieces[number]))
            bar.update(len(pieces[number]))
        bar.close()
        maps: dict[str, list[Tensor]] = {"prefill": [], "decode": [], "both": []}
        for number in range(shards.count):
            tensors = shards.read(number)
            for rows, kept in maps.items():
                for place, grid in enumerate(tensors["grids"].tolist()):
                    cells = tensors[rows][place, ..., : grid[0] * grid[1]]
                    kept.append(cells.unflatten(-1, tuple(grid)))
        return maps

    def _read_maps(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        every = all_heads(self.layers, self.heads)
        found: dict[str, list[Tensor]] = {"prefill": [], "decode": [], "both": [], "grids": []}
        for chats in chats_of(self.base, self.samples, chunks(numbers, 20), 1, []):
            answers = answers_of(self.base, chats, self.samples, SETTINGS)
            for rows in ("prefill", "decode", "both"):
                maps = self.base.attention(chats.prompts, answers, rows, every)
                stacked = torch.stack([maps[n] for n in sorted(maps)], 1).half()
                room = 2 * BASE_TOKENS - stacked.shape[-1]
                found[rows].append(torch.nn.functional.pad(stacked, (0, room)))
            found["grids"].append(torch.tensor(chats.prompts.grids))
        return {name: torch.cat(parts) for name, parts in found.items()}

    def best_heads(self, rows: str, count: int) -> Heads:
        """An oracle's: the heads that look most often at the thing asked for."""
        hits = torch.zeros(self.layers, self.heads)
        for sample, maps in zip(self.samples, self.maps[rows], strict=True):
            truth = torch.from_numpy(on_thing(sample, maps.shape[-2:])).flatten()
            hits += truth[maps.flatten(-2).argmax(-1)].float()
        best = hits.flatten().argsort(descending=True, stable=True)[:count].tolist()
        return grouped([divmod(place, self.heads) for place in best])

    def untrained(self, arm: Arm) -> Outcome:
        """What the labels of one arm are, without an RPN that learns them."""
        labelled = self._labels(arm)
        return self._outcome(arm, labelled, labelled, Measured(0, 0.0, 0.0, ()))

    def run(self, arm: Arm) -> Outcome:
        """Trains and measures one arm, unless that was done before."""
        path = self.folder / "arms" / f"{arm.name}, seed {arm.seed}.json"
        asked = {**self.made_with, **asdict(arm), "heads": show_heads(arm.heads), "steps": STEPS}
        if path.exists() and (known := json.loads(path.read_text()))["asked"] == asked:
            return Outcome(**known["outcome"])
        labelled = self._labels(arm)
        learnt = [item for item in labelled[:-HELD_OUT] if item.teaches]
        epochs = STEPS * SETTINGS.batch / max(len(learnt), 1)
        settings = SETTINGS.model_copy(update={"seed": arm.seed, "epochs": epochs})
        lessons = Lessons(self.samples, learnt, labelled[-HELD_OUT:], asked)
        rpn = copy.deepcopy(self._fresh)
        measured = fit(
            rpn, lessons, self._states, path.with_suffix(""), settings, self._alone, self.log
        )
        outcome = self._outcome(arm, labelled, learnt, measured)
        write_json(path, {"asked": asked, "outcome": asdict(outcome)})
        self.log.say(f"{arm.name}: {outcome}")
        return outcome

    def _labels(self, arm: Arm) -> list[Labelled]:
        made = []
        for number, maps in enumerate(self.maps[arm.rows]):
            seen = torch.stack([maps[n, h] for n, hs in arm.heads.items() for h in hs])
            seen = seen.float().mean(0)
            labels = pseudo_labels(seen.numpy(), options=arm.options).labels.astype(np.int8)
            size = self._sizes[number]
            made.append(Labelled(number, torch.from_numpy(labels), seen, size))
        return made

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        return [sample.picture().size for sample in self.samples]

    @cached_property
    def _states(self):  # type: ignore[no-untyped-def]  # whichever kind of States
        self.maps, self.found  # noqa: B018 - these need the layers that are cut off now
        self.base.keep_layers(1)
        items = [
            Labelled(n, torch.empty(0), torch.empty(0), (1, 1)) for n in range(len(self.samples))
        ]
        lessons = Lessons(self.samples, items, [], self.made_with)
        folder = self.folder / "states"
        return states_of(self.base, lessons, folder, SETTINGS, self._alone, self.log)

    def _outcome(
        self, arm: Arm, labelled: Sequence[Labelled], chosen: Sequence[Labelled], measured: Measured
    ) -> Outcome:
        hits = [
            on_thing(self.samples[item.number], item.labels.shape)[(item.labels == 1).numpy()]
            for item in labelled
        ]
        return Outcome(
            arm.name, show_heads(arm.heads), arm.rows, len(chosen), arm.seed,
            labelled=sum(item.teaches for item in labelled) / len(labelled),
            precision=float(np.concatenate(hits).mean()) if any(h.size for h in hits) else 0.0,
            covered=at_area(measured, "covered"), kept=at_area(measured, "kept"),
        )  # fmt: skip


def at_area(measured: Measured, what: str) -> float:
    """A share at the threshold whose regions are as large as AREA of the picture."""
    rows = sorted(measured.thresholds, key=lambda row: row.area)
    if not rows:
        return float("nan")
    return float(np.interp(AREA, [r.area for r in rows], [getattr(r, what) or 0.0 for r in rows]))


def on_thing(
    sample: Sample, grid: Sequence[int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The cells of a grid over the page that touch the thing asked for."""
    assert sample.box is not None
    width, height = sample.picture().size
    x0, y0, x1, y1 = sample.box
    rows, cols = np.arange(grid[0]) * height / grid[0], np.arange(grid[1]) * width / grid[1]
    down = (rows < y1) & (rows + height / grid[0] > y0)
    across = (cols < x1) & (cols + width / grid[1] > x0)
    return np.asarray(np.logical_and.outer(down, across))


def head_arms(ground: Ground) -> Iterator[Arm]:
    """Automatic, as a set and each head for itself, middle, an oracle's three heads, and every
    layer, three seeds each."""
    heads, rows = ground.found
    chosen = {
        "automatic": heads,
        "4 best alone": ground.best_alone(4),
        "oracle, 3 heads": ground.best_heads(rows, 3),
        "middle third": middle_heads(ground.layers, ground.heads),
        **{f"layer {n}": {n: tuple(range(ground.heads))} for n in range(ground.layers)},
    }
    for seed in range(SEEDS):
        for name, mine in chosen.items():
            yield Arm(name, mine, rows, seed=seed)


def label_arms(ground: Ground) -> Iterator[Arm]:
    """The published labels and departures from them, on the heads that were found."""
    heads, rows = ground.found
    yield Arm("published", heads, "decode", LabelOptions())
    yield Arm("rows both", heads, "both", LabelOptions())
    yield Arm("rows prefill", heads, "prefill", LabelOptions())
    yield Arm("relative_peak", heads, rows, LabelOptions(relative_peak=True))
    for share in (0.1, 0.3, 0.4):
        options = LabelOptions(relative_peak=True, foreground=share)
        yield Arm(f"relative_peak, foreground {share}", heads, rows, options)


def study(which: str, folder: Path, questions: int, model: Path, untrained: bool) -> str:
    """Every arm of "heads" or "labels", on `questions` pages; the table."""
    ground = Ground(folder, questions, model)
    measure = ground.untrained if untrained else ground.run
    arms = head_arms if which == "heads" else label_arms
    return table([measure(arm) for arm in arms(ground)])


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: a row an arm, with all its seeds."""
    lines = [
        "| arm | heads | rows | questions | labelled | precision of labels | true box covered | "
        "label foreground kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(outcome.arm for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.arm == name]
        o = mine[0]  # seeds share labels
        lines.append(
            f"| {o.arm} | {o.heads} | {o.rows} | {o.questions} | {o.labelled:.1%} "
            f"| {o.precision:.1%} | {spread([m.covered for m in mine])} "
            f"| {spread([m.kept for m in mine])} |"
        )
    return "\n".join(lines) + "\n"
