"""A whole run in one folder: data, heads, labels, training, measuring, and the RPN that comes out.

DIR/rpn.safetensors, rpn_config.json, README.md   what `sdrpn serve --rpn DIR` takes; its card
DIR/settings.yaml, bad_rows.jsonl, distill.log    how it was made
DIR/labels/                                       heads.json, shards of labels
DIR/training/                                     checkpoint, TensorBoard's events
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rpn_plugin.checkpoint import save_rpn
from rpn_plugin.config import RpnConfig
from rpn_plugin.distill.base_model import BaseModel, Show
from rpn_plugin.distill.card import Origin, model_card
from rpn_plugin.distill.find_heads import score_heads
from rpn_plugin.distill.formats import read_samples
from rpn_plugin.distill.heads import Heads, Source, middle_heads, parse_heads, show_heads
from rpn_plugin.distill.label_step import (
    Labelled,
    label_settings,
    make_labels,
    read_labels,
    summary,
)
from rpn_plugin.distill.labels import LabelOptions, label_options
from rpn_plugin.distill.measure import Measured, measure, roi_maps
from rpn_plugin.distill.processes import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.samples import DataError, Rejected, Sample, check_share, write_rejected
from rpn_plugin.distill.settings import TRAIN_FIELDS, DistillSettings, write_settings
from rpn_plugin.distill.shards import Shards, write_json
from rpn_plugin.distill.states import LiveStates, States, keep_states
from rpn_plugin.distill.training import Task, train
from rpn_plugin.head import RegionProposalNetwork


@dataclass(frozen=True)
class Run:
    """One run: `model` (a Hugging Face name or folder) on `data`, into `folder`.

    `show` makes base views as the server does. Methods raise DataError, SettingsError's ValueError
    or OtherSettings, one line each.
    """

    model: str
    data: Path
    folder: Path
    settings: DistillSettings
    processes: Processes
    show: Show

    @property
    def log(self) -> Log:
        """Where the run says what it does."""
        return Log(self.folder / "distill.log", self.processes.first)

    def read_data(self) -> tuple[list[Sample], list[Rejected], int]:
        """Samples, bad rows and the number of rows; bad rows are listed in bad_rows.jsonl."""
        settings = self.settings
        samples, rejected, rows = read_samples(self.data, settings.images, settings.split)
        listed = self.folder / "bad_rows.jsonl"
        if self.processes.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_rejected(rejected, listed)
            self.log.say(f"{self.data}: {len(samples)} questions, {len(rejected)} bad rows")
        self.processes.wait()
        check_share(len(rejected), rows, settings.max_bad_share, listed)
        return samples[: settings.max_samples], rejected, rows

    def labels(self) -> None:
        """The label step: chooses heads and labels every question."""
        options = self._options()
        samples, rejected, rows = self.read_data()
        base = self.base_model()
        source = self._source(base, samples)
        shards = self._shards(base, samples)
        make_labels(base, samples, shards, self.settings, source, options, self.processes, self.log)
        labelled, undecoded = read_labels(shards)
        if self.processes.first:
            listed = self.folder / "bad_rows.jsonl"
            write_rejected([*rejected, *undecoded], listed)
            check_share(len(rejected) + len(undecoded), rows, self.settings.max_bad_share, listed)
            found = summary(labelled)
            self.log.say("labels: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
        self.processes.wait()

    def train(self) -> Measured:
        """The training step: an RPN from the labels, measured, with its card."""
        samples, rejected, _ = self.read_data()
        base = self.base_model()
        shards = self._shards(base, samples)
        if shards.missing():
            raise DataError(f"{shards.folder} is not complete: run `sdrpn distill labels` first")
        labelled, undecoded = read_labels(shards)
        learnt, held_out = self.split(labelled)
        config = self.rpn_config(base)
        rpn = base.new_rpn(config)
        rpn, measured = self.fit(base, rpn, samples, learnt, held_out)
        if self.processes.first:
            origin = Origin(
                self.model, self.data.name, len(samples), len(rejected) + len(undecoded),
                self._recorded_heads(), len(learnt), summary(labelled),
            )  # fmt: skip
            self._write(rpn, measured, origin)
        self.processes.wait()
        return measured

    def fit(
        self,
        base: BaseModel,
        rpn: RegionProposalNetwork,
        samples: Sequence[Sample],
        learnt: Sequence[Labelled],
        held_out: Sequence[Labelled],
    ) -> tuple[RegionProposalNetwork, Measured]:
        """Trains `rpn` on `learnt` and measures it on `held_out`; `base` loses its later layers."""
        base.keep_layers(rpn.config.tap_layer)
        about = {
            **self.settings.model_dump(mode="json", include=set(TRAIN_FIELDS)),
            "tap_layer": rpn.config.tap_layer,
            "labels": json.loads((self.folder / "labels" / "settings.json").read_text()),
            "heads": self._recorded_heads(),
        }
        states = self._states(base, samples, [*learnt, *held_out], about)
        task = Task({item.number: item.labels for item in learnt}, states)
        train(rpn, task, self.folder / "training", self.settings, about, self.processes, self.log)
        maps = roi_maps(rpn, states, [item.number for item in held_out], self.settings)
        return rpn, measure(maps, held_out, samples, base.family.name)

    def base_model(self) -> BaseModel:
        """The model, loaded."""
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        return BaseModel.load(
            self.model, self.show, self.settings.base_tokens,
            device=self.processes.device, dtype=dtype,
        )  # fmt: skip

    def rpn_config(self, base: BaseModel) -> RpnConfig:
        """The shape of the RPN that the settings ask for. ValueError if the model has no room."""
        layers, settings = len(base.layers), self.settings
        tap_layer = settings.tap_layer or round(layers * 4 / 7)
        if tap_layer + settings.depth > layers:
            raise ValueError(
                f"tap_layer {tap_layer} and depth {settings.depth} need "
                f"{tap_layer + settings.depth} layers to begin from; the model has {layers}"
            )
        return RpnConfig.for_model(
            base.config, tap_layer=tap_layer, depth=settings.depth, family=base.family,
            base_tokens=settings.base_tokens, crop_tokens=settings.crop_tokens,
        )  # fmt: skip

    def split(self, labelled: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
        """Questions to learn from and those held out, both only where there is a label."""
        teaching = [item for item in labelled if item.teaches]
        count = min(self.settings.validation, len(teaching) // 10)
        if len(teaching) - count < 1:
            raise DataError("no question got any label: the chosen heads show no peak anywhere")
        shuffler = torch.Generator().manual_seed(self.settings.seed)
        apart = set(torch.randperm(len(teaching), generator=shuffler)[:count].tolist())
        return (
            [item for place, item in enumerate(teaching) if place not in apart],
            [item for place, item in enumerate(teaching) if place in apart],
        )

    def _options(self) -> LabelOptions:
        return label_options(self.settings.label_options, self.settings.foreground)

    def _shards(self, base: BaseModel, samples: Sequence[Sample]) -> Shards:
        count = -(-len(samples) // self.settings.shard)
        about = label_settings(self.settings, samples, base.config)
        if self.processes.first:
            Shards(self.folder / "labels", count, about)
        self.processes.wait()
        return Shards(self.folder / "labels", count, about)

    def _source(self, base: BaseModel, samples: Sequence[Sample]) -> Source:
        """Where labels come from; written to heads.json."""
        settings, layers, heads = self.settings, len(base.layers), base.heads
        queries: str = "decode" if settings.queries == "auto" else settings.queries
        queries = "prefill" if settings.response == "none" else queries
        if settings.heads == "middle":
            grounding = middle_heads(layers, heads)
        elif settings.heads == "auto":
            grounding, queries = self._found(base, samples)
        else:
            grounding = parse_heads(settings.heads, layers, heads)
        if not grounding:
            raise ValueError("no heads to learn from")
        source = Source(grounding, parse_heads(settings.sink_heads, layers, heads), queries)
        if self.processes.first:
            chosen = {
                "grounding": show_heads(grounding),
                "sinks": show_heads(source.sinking),
                "queries": queries,
            }
            self._write_head_record({**self._head_record(), **chosen})
        self.processes.wait()
        return source

    def _found(self, base: BaseModel, samples: Sequence[Sample]) -> tuple[Heads, str]:
        """Heads and rows found by the first process, or by an earlier run in this folder."""
        wanted = label_settings(self.settings, samples, base.config)
        if self.processes.first and self._head_record().get("found_with") != wanted:
            scores = score_heads(base, samples, self.settings, self.log)
            most = self.settings.head_count
            queries = max(scores, key=lambda rows: scores[rows].follows(most))
            best = scores[queries]
            ranked = [
                {"layer": n, "head": h, "score": round(float(best.score[n, h]), 4)}
                for n, h in best.ranked()
            ]
            found = show_heads(best.best(most))
            self._write_head_record(
                {
                    "found_with": wanted,
                    "found": found,
                    "found_queries": queries,
                    "follows": {rows: round(s.follows(most), 4) for rows, s in scores.items()},
                    "ranked": ranked,
                }
            )
            self.log.say(f"heads that follow the question: {found}, in {queries} rows")
        self.processes.wait()
        record = self._head_record()
        return parse_heads(record["found"], len(base.layers), base.heads), record["found_queries"]

    def _write_head_record(self, record: Mapping[str, Any]) -> None:
        path = self.folder / "labels" / "heads.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)

    def _head_record(self) -> dict[str, Any]:
        path = self.folder / "labels" / "heads.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _recorded_heads(self) -> str:
        record = self._head_record()
        return f"{record['grounding']} in {record['queries']} rows"

    def _states(
        self,
        base: BaseModel,
        samples: Sequence[Sample],
        items: Sequence[Labelled],
        about: Mapping[str, Any],
    ) -> States:
        if not self.settings.cache_states:
            return LiveStates(base, samples, self.settings.workers)
        numbers = sorted(item.number for item in items)
        names = ("tap_layer", "base_tokens", "precision", "micro_batch", "labels")
        made_with = {name: about[name] for name in names}
        return keep_states(
            base, samples, numbers, self.folder / "training" / "states", made_with, self.settings,
            self.processes, self.log,
        )  # fmt: skip

    def _write(self, rpn: RegionProposalNetwork, measured: Measured, origin: Origin) -> None:
        best = measured.best()
        chosen = best.threshold if best else rpn.config.threshold
        threshold = self.settings.threshold or chosen
        rpn.config = dataclasses.replace(rpn.config, threshold=threshold)
        save_rpn(rpn.cpu().to(torch.bfloat16), self.folder)
        write_settings(self.settings, self.folder / "settings.yaml")
        card = model_card(origin, rpn.config, self.settings, measured)
        (self.folder / "README.md").write_text(card, encoding="utf-8")
        self.log.say(f"wrote {self.folder}: threshold {threshold}, {measured.questions} held out")
