"""A whole run in one folder: data, heads, labels, training, measuring, and the RPN that comes out.

DIR/rpn.safetensors, rpn_config.json, README.md   what `sdrpn serve --rpn DIR` takes; its card
DIR/settings.yaml, bad_rows.jsonl, distill.log    how it was made
DIR/labels/                                       heads.json, shards of labels
DIR/sweep/                                        what --auto tried
DIR/training/                                     checkpoint, TensorBoard's events
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.samples import (
    DataError,
    RejectedRow,
    Sample,
    check_share,
    write_rejected,
)
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.labels.label_source import choose_source, recorded_source
from rpn_plugin.distill.labels.label_step import (
    label_settings,
    make_labels,
    read_labels,
    summary,
)
from rpn_plugin.distill.labels.pseudo_labels import label_options
from rpn_plugin.distill.model_card import Origin, model_card
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings, write_settings
from rpn_plugin.distill.train.evaluation import Evaluation
from rpn_plugin.distill.train.fitting import TrainingSet, fit, rpn_config, split, states_of
from rpn_plugin.distill.train.sweep import sweep
from rpn_plugin.network.checkpoint import save_rpn
from rpn_plugin.network.rpn import RegionProposalNetwork


@dataclass(frozen=True)
class Run:
    """One run: `model` (a Hugging Face name or folder) on `data`, into `folder`.

    Methods raise DataError, SettingsError or OtherSettings, one line each.
    """

    model: str
    data: Path
    folder: Path
    settings: DistillSettings
    processes: Processes

    def labels(self) -> None:
        """The label step: chooses heads and labels every question."""
        options = label_options(self.settings.label_options, self.settings.foreground)
        samples, rejected, rows = self._read_data()
        base = self._base_model()
        shards = self._shards(base, samples)
        made_with = label_settings(self.settings, samples, base.fingerprint())
        source = choose_source(
            base, samples, self.settings, made_with, self._heads_file, self.processes, self._log
        )
        make_labels(
            base, samples, shards, self.settings, source, options, self.processes, self._log
        )
        labelled, undecoded = read_labels(shards)
        bad = [*rejected, *undecoded]
        if self.processes.first:
            write_rejected(bad, self._bad_rows)
            found = summary(labelled)
            self._log.say("labels: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items()))
        self.processes.wait()
        check_share(len(bad), rows, self.settings.max_bad_share, self._bad_rows)

    def train(self) -> Evaluation:
        """The training step: an RPN from the labels, measured, with its card."""
        samples, rejected, _ = self._read_data()
        base = self._base_model()
        shards = self._shards(base, samples)
        if shards.missing():
            raise DataError(f"{shards.folder} is not complete: run `sdrpn distill labels` first")
        labelled, undecoded = read_labels(shards)
        made_with = {
            **label_settings(self.settings, samples, base.fingerprint()),
            "source": recorded_source(self._heads_file),
        }
        training_set = split(samples, labelled, made_with, self.settings)
        rpn, measured = self._fit(base, training_set)
        if self.processes.first:
            bad = [*rejected, *undecoded]
            write_rejected(bad, self._bad_rows)
            origin = Origin(
                self.model, self.data.name, len(samples), len(bad),
                recorded_source(self._heads_file), len(training_set.train_items), summary(labelled),
            )  # fmt: skip
            self._write(rpn, measured, origin)
        self.processes.wait()
        return measured

    def _fit(
        self, base: BaseModel, training_set: TrainingSet
    ) -> tuple[RegionProposalNetwork, Evaluation]:
        settings, processes = self.settings, self.processes
        tap_layer, depth = settings.tap_layer, settings.depth
        if settings.auto:
            best = sweep(base, training_set, self.folder / "sweep", settings, processes, self._log)
            tap_layer, depth = best.tap_layer, best.depth
        config = rpn_config(base, settings, tap_layer, depth)
        rpn = base.new_rpn(config)
        base.keep_layers(config.tap_layer)
        folder = self.folder / "training"
        states = states_of(base, training_set, folder / "states", settings, processes, self._log)
        return rpn, fit(rpn, training_set, states, folder, settings, processes, self._log)

    @property
    def _log(self) -> Log:
        return Log(self.folder / "distill.log", self.processes.first)

    @property
    def _heads_file(self) -> Path:
        return self.folder / "labels" / "heads.json"

    @property
    def _bad_rows(self) -> Path:
        return self.folder / "bad_rows.jsonl"

    def _read_data(self) -> tuple[list[Sample], list[RejectedRow], int]:
        """Samples, bad rows and the number of rows; bad rows are listed in bad_rows.jsonl."""
        settings = self.settings
        samples, rejected, rows = read_samples(self.data, settings.images, settings.split)
        if self.processes.first:
            write_rejected(rejected, self._bad_rows)
            self._log.say(f"{self.data}: {len(samples)} questions, {len(rejected)} bad rows")
        self.processes.wait()
        check_share(len(rejected), rows, settings.max_bad_share, self._bad_rows)
        return samples[: settings.max_samples], rejected, rows

    def _base_model(self) -> BaseModel:
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        return BaseModel.load(
            self.model, self.settings.base_tokens,
            device=self.processes.device, dtype=dtype,
        )  # fmt: skip

    def _shards(self, base: BaseModel, samples: Sequence[Sample]) -> Shards:
        count = -(-len(samples) // self.settings.shard)
        about = label_settings(self.settings, samples, base.fingerprint())
        if self.processes.first:
            Shards(self.folder / "labels", count, about)
        self.processes.wait()
        return Shards(self.folder / "labels", count, about)

    def _write(self, rpn: RegionProposalNetwork, measured: Evaluation, origin: Origin) -> None:
        best = measured.best()
        chosen = best.threshold if best else rpn.config.threshold
        threshold = self.settings.threshold or chosen
        rpn.config = dataclasses.replace(rpn.config, threshold=threshold)
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        save_rpn(rpn.cpu().to(dtype), self.folder)
        write_settings(self.settings, self.folder / "settings.yaml")
        card = model_card(origin, rpn.config, self.settings, measured)
        (self.folder / "README.md").write_text(card, encoding="utf-8")
        self._log.say(f"wrote {self.folder}: threshold {threshold}")
