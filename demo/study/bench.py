"""RPNs distilled from parts of one set of pages, each measured on pages it was not made from.

Labels and the states before the RPN are made once for all pages, by `sdrpn distill`'s own steps.
An arm is then what a user with only its questions would get: a tenth of them is held out and sets
the threshold, without boxes. True boxes are used for measuring alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from demo.pages import BASE_TOKENS
from demo.rpn_stage import SETTINGS
from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.fitting import Lessons, fit, rpn_config, split, states_of
from rpn_plugin.distill.formats import read_samples
from rpn_plugin.distill.label_step import Labelled, label_settings, make_labels, read_labels
from rpn_plugin.distill.labels import label_options
from rpn_plugin.distill.measure import (
    COVERED,
    roi_maps,
    share_inside,
)
from rpn_plugin.distill.processes import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.shards import Shards, write_json
from rpn_plugin.distill.source import choose_source
from rpn_plugin.distill.states import States
from rpn_plugin.head import RegionProposalNetwork
from rpn_plugin.roi import regions_from_map
from server.views import base_picture

AREA = 1 / 7
"""Arms are compared at regions of the same mean size: about that of the shipped RPN."""

LABELS = label_options(SETTINGS.label_options, SETTINGS.foreground)

STEPS = 160
"""Of every arm, whatever it learns from: once over 10,000 questions, 38 times over 300."""


@dataclass(frozen=True)
class Arm:
    """An RPN to make from the questions `asked`, and the questions it is measured on (`tested`)."""

    name: str
    asked: tuple[int, ...]
    tested: tuple[int, ...]
    seed: int
    steps: int = STEPS


@dataclass(frozen=True)
class Placed:
    """Regions at a `threshold`: boxes in pixels by page, None for none. `area`: their mean share of
    the page; `covered`: the share of things that they cover by 80 %."""

    threshold: float
    area: float
    covered: float
    regions: dict[int, list[int] | None]


@dataclass(frozen=True)
class Trained:
    """What an arm came to on its `tested` pages: at its `own` threshold, which held-out questions
    set, and `even`, at the one whose regions have a mean size of AREA."""

    arm: str
    learnt: int
    seed: int
    own: Placed
    even: Placed


class Bench:
    """The pages of one `pages.jsonl`, their labels and states, kept in `folder`."""

    def __init__(self, folder: Path, pages: Path, model: Path) -> None:
        self.folder, self._model = folder, model
        self.log = Log(folder / "study.log", speaks=True)
        self._alone = Processes(0, 1, torch.device("cpu"))
        self.samples = read_samples(pages)[0]
        self.rows = [json.loads(line) for line in pages.read_text(encoding="utf-8").splitlines()]

    def train(self, arm: Arm) -> Trained:
        """Trains and measures one arm, unless that was done before."""
        path = self.folder / "arms" / f"{arm.name}.json"
        about = {**self._made_with, "arm": _fingerprint(arm)}
        if path.exists() and (known := json.loads(path.read_text()))["about"] == about:
            return trained_from(known["trained"])
        chosen = [self.labelled[number] for number in arm.asked]
        settings = SETTINGS.model_copy(update={"seed": arm.seed})
        lessons = split(self.samples, chosen, about, settings)
        epochs = arm.steps * settings.batch / len(lessons.learnt)
        settings = settings.model_copy(update={"epochs": epochs})
        base = self.base_model()
        rpn = base.new_rpn(rpn_config(base, settings, settings.tap_layer, settings.depth))
        folder = path.with_suffix("")
        own = fit(rpn, lessons, self._states, folder, settings, self._alone, self.log).best()
        assert own is not None, "too few questions to hold any out"
        at_own, even = self.place(rpn, own.threshold, arm.tested)
        trained = Trained(arm.name, len(lessons.learnt), arm.seed, at_own, even)
        write_json(path, {"about": about, "trained": asdict(trained)})
        self.log.say(f"{arm.name}: covered {even.covered:.3f}")
        return trained

    def place(
        self, rpn: RegionProposalNetwork, threshold: float, tested: Sequence[int]
    ) -> tuple[Placed, Placed]:
        """Where `rpn` would have the model look on the pages `tested`: at that threshold, and at
        the one whose regions have a mean size of AREA."""
        assert rpn.config.tap_layer == SETTINGS.tap_layer, "made for other states"
        maps = roi_maps(rpn, self._states, tested, SETTINGS)

        def at(threshold: float) -> Placed:
            regions: dict[int, list[int] | None] = {}
            shares = []
            for number in tested:
                width, height = size = self.labelled[number].size
                found = regions_from_map(
                    maps[number].numpy(), size, threshold=threshold, family=rpn.config.family
                )
                x0, y0, x1, y1 = found[0].box if found else (0, 0, 0, 0)
                shares.append((x1 - x0) * (y1 - y0) / (width * height))
                regions[number] = [int(v) for v in found[0].box] if found else None
            return Placed(threshold, fmean(shares), self.covered(tested, regions), regions)

        low, high = 0.0, 1.0  # the higher the threshold, the smaller the regions
        while high - low > 1e-3:
            middle = (low + high) / 2
            low, high = (middle, high) if at(middle).area > AREA else (low, middle)
        return at(threshold), at(high)

    def covered(self, pages: Sequence[int], regions: Mapping[int, list[int] | None]) -> float:
        """The share of these pages whose region covers the thing asked for by 80 %."""
        hits = 0
        for number in pages:
            box, region = self.samples[number].box, regions[number]
            assert box is not None
            hits += region is not None and share_inside(region, box) >= COVERED
        return hits / len(pages)

    def base_model(self) -> BaseModel:
        """The model, loaded afresh: those who cut layers off harm nobody else."""
        return BaseModel.load(
            self._model, base_picture, BASE_TOKENS, device=self._alone.device, dtype=torch.bfloat16
        )

    @cached_property
    def _made_with(self) -> dict[str, Any]:
        return label_settings(SETTINGS, self.samples, self.base_model().fingerprint())

    @cached_property
    def labelled(self) -> list[Labelled]:
        """Every page's labels, from the heads that `--heads auto` finds."""
        base, folder = self.base_model(), self.folder / "labels"
        shards = Shards(folder, -(-len(self.samples) // SETTINGS.shard), self._made_with)
        source = choose_source(
            base, self.samples, SETTINGS, self._made_with, folder / "heads.json", self._alone,
            self.log,
        )  # fmt: skip
        rows = source.queries
        # Without answer rows nothing has to be generated: the same labels, sooner.
        response = "none" if rows == "prefill" else SETTINGS.response
        settings = SETTINGS.model_copy(update={"response": response})
        make_labels(base, self.samples, shards, settings, source, LABELS, self._alone, self.log)
        labelled, rejected = read_labels(shards)
        assert not rejected, "pages of our own can be decoded"
        return labelled

    @cached_property
    def _states(self) -> States:
        lessons = Lessons(self.samples, self.labelled, [], self._made_with)
        base = self.base_model()
        assert SETTINGS.tap_layer is not None
        base.keep_layers(SETTINGS.tap_layer)
        folder = self.folder / "states"
        return states_of(base, lessons, folder, SETTINGS, self._alone, self.log)


def trained_from(values: dict[str, Any]) -> Trained:
    """What `asdict` made of it, out of JSON."""
    for which in ("own", "even"):
        regions = {int(number): box for number, box in values[which]["regions"].items()}
        values[which] = Placed(**{**values[which], "regions": regions})
    return Trained(**values)


def _fingerprint(arm: Arm) -> str:
    return hashlib.sha256(json.dumps(asdict(arm)).encode()).hexdigest()[:16]
