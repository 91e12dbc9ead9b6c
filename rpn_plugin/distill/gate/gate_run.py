"""`sdrpn distill gate`: a learned gate for an RPN, in one folder.

DIR/rpn.safetensors, gate.safetensors, rpn_config.json   what `sdrpn serve --rpn DIR` takes
DIR/README.md, settings.yaml, bad_rows.jsonl, distill.log   how it was made, what it is worth
DIR/answers/                                              shards of both answers
DIR/training/                                             checkpoint, TensorBoard's events, states
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.formats import read_samples
from rpn_plugin.distill.data.samples import DataError, Sample, check_share, write_rejected
from rpn_plugin.distill.data.shards import Shards
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.gate.gate_answers import (
    AnswerPair,
    answer_settings,
    make_answers,
    read_answers,
)
from rpn_plugin.distill.gate.gate_card import gate_card
from rpn_plugin.distill.gate.gate_training import (
    GateResult,
    best_threshold,
    gate_loss,
    measure_gate,
    needs,
    new_gate,
)
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import TRAIN_FIELDS, DistillSettings, SettingsError, write_settings
from rpn_plugin.distill.train.fitting import states_for
from rpn_plugin.distill.train.training import Task, train
from rpn_plugin.network.checkpoint import load_rpn, save_rpn
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork


@dataclass(frozen=True)
class GateRun:
    """One run: a gate for `model` and the RPN in folder `rpn`, from `data`, into `folder`.

    `settings.depth` is the gate's number of layers; budgets and threshold are the RPN's.
    """

    model: str
    rpn: Path
    data: Path
    folder: Path
    settings: DistillSettings
    processes: Processes

    def run(self) -> GateResult | None:
        """All of it; what the gate is worth at its threshold on held-out questions, if there are.

        Raises DataError, CheckpointError, SettingsError or OtherSettings, one line each.
        """
        rpn = load_rpn(self.rpn).float().to(self.processes.device).eval()
        names = ("tap_layer", "base_tokens", "crop_tokens", "threshold")
        theirs = {name: getattr(rpn.config, name) for name in names}
        settings = self.settings.model_copy(update=theirs)
        return dataclasses.replace(self, settings=settings)._run(rpn)

    def _run(self, rpn: RegionProposalNetwork) -> GateResult | None:
        samples = self._read_data()
        base = self._base_model(rpn)
        made_with = answer_settings(self.settings, samples, base.fingerprint(), rpn)
        answered = self._answers(base, rpn, samples, made_with)
        train_items, held_out = self._split(answered)
        config = dataclasses.replace(
            rpn.config,
            gate_layers=self.settings.depth,
            gate_min_probability=0.0,
            gate_default=False,
        )
        if config.tap_layer + config.gate_layers > config.base_layers:
            raise SettingsError(
                f"a gate of {config.gate_layers} layers after layer {config.tap_layer} has no "
                f"layers to begin from: the model has {config.base_layers}"
            )
        gate = new_gate(base, config)
        base.keep_layers(config.tap_layer)
        measured = self._train(gate, base, samples, train_items, held_out, made_with)
        best = best_threshold(measured) if held_out else None
        if self.processes.first:
            self._write(gate, measured, best, answered)
        self.processes.wait()
        return best

    def _answers(
        self,
        base: BaseModel,
        rpn: RegionProposalNetwork,
        samples: list[Sample],
        made_with: dict[str, Any],
    ) -> list[AnswerPair]:
        folder, count = self.folder / "answers", -(-len(samples) // self.settings.shard)
        if self.processes.first:
            Shards(folder, count, made_with)
        self.processes.wait()
        shards = Shards(folder, count, made_with)
        make_answers(base, rpn, samples, shards, self.settings, self.processes, self._log)
        answered, _ = read_answers(shards, samples)
        needed = sum(item.need == 1 for item in answered)
        needless = sum(item.need == 0 for item in answered)
        self._log.say(
            f"answers: {len(answered)} questions, {needless} zooms needless, {needed} needed"
        )
        if not needed or not needless:
            raise DataError("nothing to learn: a zoom is always needed, or never")
        return answered

    def _split(self, answered: Sequence[AnswerPair]) -> tuple[list[AnswerPair], list[AnswerPair]]:
        """Questions to learn from, those with something to learn; and all sorts, held out."""
        count = min(self.settings.validation, len(answered) // 10)
        shuffler = torch.Generator().manual_seed(self.settings.seed)
        order = torch.randperm(len(answered), generator=shuffler).tolist()
        held_out = [answered[i] for i in sorted(order[:count])]
        train_items = [answered[i] for i in sorted(order[count:]) if answered[i].need is not None]
        return train_items, [item for item in held_out if item.zoom is not None]

    def _train(
        self,
        gate: LearnedGate,
        base: BaseModel,
        samples: list[Sample],
        train_items: Sequence[AnswerPair],
        held_out: Sequence[AnswerPair],
        made_with: dict[str, Any],
    ) -> list[GateResult]:
        settings, folder = self.settings, self.folder / "training"
        numbers = sorted(item.number for item in [*train_items, *held_out])
        states = states_for(
            base, samples, numbers, {"answers": made_with}, folder / "states",
            settings, self.processes, self._log,
        )  # fmt: skip
        labels = {item.number: torch.tensor(item.need) for item in train_items}
        about = {
            **settings.model_dump(mode="json", include=set(TRAIN_FIELDS)),
            "learnt": len(train_items),
            "answers": made_with,
        }
        task = Task(labels, states, gate_loss)
        train(gate, task, folder, settings, about, self.processes, self._log)
        found = needs(gate, states, [item.number for item in held_out], settings)
        return measure_gate(held_out, found)

    @property
    def _log(self) -> Log:
        return Log(self.folder / "distill.log", self.processes.first)

    def _read_data(self) -> list[Sample]:
        settings, bad = self.settings, self.folder / "bad_rows.jsonl"
        samples, rejected, rows = read_samples(self.data, settings.images, settings.split)
        if self.processes.first:
            write_rejected(rejected, bad)
            self._log.say(f"{self.data}: {len(samples)} questions, {len(rejected)} bad rows")
        self.processes.wait()
        check_share(len(rejected), rows, settings.max_bad_share, bad)
        return samples[: settings.max_samples]

    def _base_model(self, rpn: RegionProposalNetwork) -> BaseModel:
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        return BaseModel.load(
            self.model, rpn.config.base_tokens,
            device=self.processes.device, dtype=dtype,
        )  # fmt: skip

    def _write(
        self,
        gate: LearnedGate,
        measured: Sequence[GateResult],
        best: GateResult | None,
        answered: Sequence[AnswerPair],
    ) -> None:
        need = best.threshold if best else 0.5
        rpn = load_rpn(self.rpn)  # in the dtype it was saved in
        rpn.config = gate.config = dataclasses.replace(gate.config, gate_min_probability=need)
        dtype = torch.bfloat16 if self.settings.precision == "bfloat16" else torch.float32
        save_rpn(rpn, self.folder, gate.cpu().to(dtype))
        write_settings(self.settings, self.folder / "settings.yaml")
        card = gate_card(self.model, self.data.name, answered, gate.config, self.settings, measured)
        (self.folder / "README.md").write_text(card, encoding="utf-8")
        self._log.say(f"wrote {self.folder}: zoom where the gate says {need:.4g} or more")
