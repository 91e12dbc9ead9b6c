"""Every hyperparameter of a distillation run, in one place: a field is a flag and a YAML key.

Defaults of training are those of the published Qwen2.5-VL recipe (its released scripts): AdamW,
rate 1e-4, cosine with 3 % warm-up, clip 1, one epoch, 128 questions a step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rpn_plugin.distill.labels.pseudo_labels import label_options
from rpn_plugin.model_flags import add_flags, given


class SettingsError(Exception):
    """A setting cannot be used; one line says which and why."""


class DistillSettings(BaseModel):
    """What decides the result of a run, and how it is spread over hardware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The RPN and the views it is made for.
    tap_layer: int | None = Field(
        default=None,
        ge=1,
        description="layers of the model before the RPN (B); default: 4/7 of them",
    )
    depth: int = Field(default=3, ge=1, description="layers of the RPN (R)")
    auto: bool = Field(
        default=False,
        description="choose tap layer and depth by trying a few; --tap-layer fixes the one",
    )
    sweep_samples: int = Field(
        default=1000, ge=1, description="questions that --auto trains on, each try"
    )
    base_tokens: int = Field(default=576, ge=4, description="visual tokens of the base view")
    crop_tokens: int = Field(default=576, ge=4, description="visual tokens of a crop, when served")
    threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="serving threshold; default: chosen on held-out questions",
    )

    # The data.
    images: Path | None = Field(
        default=None,
        description="folder that relative picture paths start from; default: DATA's own",
    )
    split: str = Field(default="train", description="split of a `datasets` folder")
    max_samples: int | None = Field(default=None, ge=1, description="use only so many questions")
    max_bad_share: float = Field(
        default=0.05, ge=0, le=1, description="stop if more than this share of rows is bad"
    )
    validation: int = Field(
        default=200, ge=0, description="questions held out for measuring (at most a tenth of all)"
    )

    # The labels.
    heads: str = Field(
        default="auto",
        description="attention heads to learn from: auto, middle (all heads of the middle third of "
        "the layers), or layers and heads as 16:1,7,17;19:17,20 (16:* for all of layer 16)",
    )
    sink_heads: str = Field(default="", description="heads that show attention sinks, as 9:4,22")
    head_count: int = Field(default=8, ge=1, description="most heads that auto chooses")
    calibration: int = Field(default=128, ge=8, description="questions that auto looks at")
    response: Literal["generate", "answer", "none"] = Field(
        default="generate",
        description="whose attention is read: the model's own answer, the data's, or only the "
        "question's last token",
    )
    queries: Literal["auto", "decode", "both", "prefill"] = Field(
        default="auto",
        description="rows of attention: answer tokens (decode, as published), the question's last "
        "token (prefill) or both; auto chooses together with the heads, and is decode if those are "
        "named",
    )
    max_new_tokens: int = Field(default=128, ge=1, description="longest answer that is generated")
    label_options: str = Field(
        default="",
        description="departures from the published labels, comma-separated: ignore_sinks, "
        "exact_padding, relative_peak",
    )
    foreground: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the peak that is foreground; default: the family's",
    )

    # Training.
    epochs: float = Field(default=1.0, gt=0, description="passes over the questions")
    batch: int = Field(default=128, ge=1, description="questions a step, over all processes")
    lr: float = Field(default=1e-4, gt=0, description="AdamW's highest rate")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="AdamW")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of steps with a rising rate")
    clip: float = Field(default=1.0, gt=0, description="largest norm of a step's gradient")
    seed: int = Field(
        default=0, description="decides the order of questions and which are held out"
    )

    # Hardware: none of these decides what is learnt.
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where to compute")
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="of the model; the RPN's weights are float32 in training"
    )
    label_batch: int = Field(default=8, ge=1, description="questions labelled at once, a process")
    micro_batch: int = Field(
        default=16, ge=1, description="questions trained on at once, a process"
    )
    shard: int = Field(default=256, ge=1, description="questions in a shard of labels")
    workers: int = Field(default=2, ge=1, description="threads that load pictures ahead, a process")
    cache_states: bool = Field(
        default=False,
        description="keep the states the RPN reads on disk: faster from the second epoch on, at "
        "about 5 MB a question for a 7B model",
    )
    checkpoint_seconds: float = Field(
        default=300, ge=0, description="time between training checkpoints"
    )

    @field_validator("label_options")
    @classmethod
    def _named_options(cls, names: str) -> str:
        label_options(names)
        return names


LABEL_FIELDS = (
    "base_tokens", "heads", "sink_heads", "head_count", "calibration", "response", "queries",
    "max_new_tokens", "label_options", "foreground", "max_samples", "precision", "seed",
    "label_batch", "shard", "split",
)  # fmt: skip
"""Settings that labels depend on, to the bit; the others may change between the steps."""

TRAIN_FIELDS = (
    "tap_layer", "depth", "base_tokens", "epochs", "batch", "lr", "beta1", "beta2", "weight_decay",
    "warmup", "clip", "seed", "validation", "precision", "micro_batch", "cache_states",
)  # fmt: skip
"""Settings that trained weights depend on, to the bit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting, and --config for a YAML file of them."""
    parser.add_argument("--config", type=Path, help="YAML file of settings; flags come first")
    add_flags(parser, DistillSettings)


def settings_from(options: argparse.Namespace) -> DistillSettings:
    """Settings from parsed flags and the YAML file they may name. Raises SettingsError."""
    values: dict[str, Any] = {}
    if path := options.config:
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"cannot read {path}: {error}") from error
        if not isinstance(values, dict):
            raise SettingsError(f"{path} does not hold settings, one `name: value` a line")
    try:
        return DistillSettings.model_validate({**values, **given(options, DistillSettings)})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def write_settings(settings: DistillSettings, path: Path) -> None:
    """A YAML file that `--config` reads back."""
    values = settings.model_dump(mode="json")
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
