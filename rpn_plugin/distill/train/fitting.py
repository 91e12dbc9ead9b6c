"""One RPN from labels to measures: what a run does once, and a sweep many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.samples import DataError, Sample
from rpn_plugin.distill.data.states import LiveStates, States, keep_states
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.labels.label_step import SampleLabels
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import TRAIN_FIELDS, DistillSettings, SettingsError
from rpn_plugin.distill.train.evaluation import Evaluation, measure, roi_maps
from rpn_plugin.distill.train.training import Task, map_loss, train
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork


@dataclass(frozen=True)
class TrainingSet:
    """What there is to learn, and what it is measured on. `made_with`: all that the labels depend
    on."""

    samples: Sequence[Sample]
    train_items: Sequence[SampleLabels]
    held_out: Sequence[SampleLabels]
    made_with: Mapping[str, Any]


def split(
    samples: Sequence[Sample],
    labelled: Sequence[SampleLabels],
    made_with: Mapping[str, Any],
    settings: DistillSettings,
) -> TrainingSet:
    """Questions to learn from and those held out, both only where there is a label.

    Raises DataError if there is nothing to learn from.
    """
    teaching = [item for item in labelled if item.teaches]
    count = min(settings.validation, len(teaching) // 10)
    if not teaching:
        raise DataError("no question got any label: the chosen heads show no peak anywhere")
    shuffler = torch.Generator().manual_seed(settings.seed)
    apart = set(torch.randperm(len(teaching), generator=shuffler)[:count].tolist())
    return TrainingSet(
        samples,
        [item for place, item in enumerate(teaching) if place not in apart],
        [item for place, item in enumerate(teaching) if place in apart],
        made_with,
    )


def rpn_config(
    base: BaseModel, settings: DistillSettings, tap_layer: int | None, depth: int
) -> RpnConfig:
    """The shape of an RPN; without a tap layer, the published share of the model's layers.

    SettingsError if the model has no layers there to begin from, or a configuration without what
    an RPN needs.
    """
    layers = len(base.layers)
    tap_layer = tap_layer or round(layers * 4 / 7)
    if tap_layer + depth > layers:
        raise SettingsError(
            f"tap_layer {tap_layer} and depth {depth} need {tap_layer + depth} layers to begin "
            f"from; the model has {layers}"
        )
    try:
        return RpnConfig.for_model(
            base.config, tap_layer=tap_layer, depth=depth, family=base.family,
            base_tokens=settings.base_tokens, crop_tokens=settings.crop_tokens,
        )  # fmt: skip
    except ValueError as error:
        raise SettingsError(str(error)) from error


def states_of(
    base: BaseModel,
    training_set: TrainingSet,
    folder: Path,
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> States:
    """States of all questions; `base` ends at the tap layer (`keep_layers`, `only_layers`)."""
    numbers = sorted(item.number for item in [*training_set.train_items, *training_set.held_out])
    about = {"labels": training_set.made_with}
    return states_for(base, training_set.samples, numbers, about, folder, settings, processes, log)


def states_for(
    base: BaseModel,
    samples: Sequence[Sample],
    numbers: Sequence[int],
    about: Mapping[str, Any],
    folder: Path,
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> States:
    """States of the samples with these numbers, as in `states_of`; `about`: where they are from."""
    if not settings.cache_states:
        return LiveStates(base, samples, settings.workers)
    names = {"base_tokens", "precision", "micro_batch"}
    made_with = {
        **settings.model_dump(mode="json", include=names),
        "tap_layer": len(base.layers),
        "numbers": len(numbers),
        **about,
    }
    return keep_states(base, samples, numbers, folder, made_with, settings, processes, log)


def fit(
    rpn: RegionProposalNetwork,
    training_set: TrainingSet,
    states: States,
    folder: Path,
    settings: DistillSettings,
    processes: Processes,
    log: Log,
) -> Evaluation:
    """Trains `rpn` in place, resuming from `folder`, and measures it on what is held out."""
    about = {
        **settings.model_dump(mode="json", include=set(TRAIN_FIELDS)),
        "tap_layer": rpn.config.tap_layer,
        "depth": rpn.config.depth,
        "learnt": len(training_set.train_items),
        "labels": training_set.made_with,
    }
    task = Task({item.number: item.labels for item in training_set.train_items}, states, map_loss)
    train(rpn, task, folder, settings, about, processes, log)
    maps = roi_maps(rpn, states, [item.number for item in training_set.held_out], settings)
    return measure(maps, training_set.held_out, training_set.samples, rpn.config.family)
