"""The model card of an RPN: what it was made of, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.evaluation import Evaluation
from rpn_plugin.network.config import RpnConfig


@dataclass(frozen=True)
class Origin:
    """Where an RPN comes from. `questions`, `bad_rows` of the data; `train_items`: questions it was
    trained on; `labels`: see label_step.summary."""

    model: str
    data: str
    questions: int
    bad_rows: int
    heads: str
    train_items: int
    labels: Mapping[str, float]


def model_card(
    origin: Origin, config: RpnConfig, settings: DistillSettings, measured: Evaluation
) -> str:
    """Markdown with the front matter that model hubs read."""
    return f"""\
---
base_model: {origin.model}
library_name: sdrpn
tags: [region-proposal, sd-rpn, {config.family}]
---

# Region proposal network for {origin.model}

Made by `sdrpn distill` from the model's own attention; no boxes were used. Serve it with

    sdrpn serve {origin.model} --rpn THIS_FOLDER

## What it was trained on

| | |
|---|---|
| data | {origin.data}: {origin.questions} questions, {origin.bad_rows} bad rows left out |
| labels from | heads {origin.heads} (chosen by: {settings.heads}), {_attention(settings)} |
| questions with labels | {origin.labels["with labels"]:.1%}; of their cells {_cells(origin)} |
| trained on | {origin.train_items} questions, {settings.epochs:g} epochs of {settings.batch} \
a step, rate {settings.lr:g} |
| shape | after layer {config.tap_layer} of {config.base_layers}, {config.depth} layers deep, \
base view of at most {config.base_tokens} tokens |

All settings are in `settings.yaml`, bad rows and their reasons in `bad_rows.jsonl`.

## How well it does

{_measures(measured, config.threshold)}"""


def _attention(settings: DistillSettings) -> str:
    rows = {
        "generate": "attention of the model's own answers",
        "answer": "attention of the data's answers",
        "none": "attention of the question's last token",
    }[settings.response]
    return f"{rows}; options: {settings.label_options or 'as published'}"


def _cells(origin: Origin) -> str:
    labels = origin.labels
    return f"{labels['foreground']:.1%} foreground, {labels['background']:.1%} background"


def _measures(measured: Evaluation, served: float | None) -> str:
    if not measured.questions:
        return "Not measured: no questions were held out.\n"
    boxes = any(row.covered is not None for row in measured.thresholds)
    lines = [
        f"On {measured.questions} questions it was not trained on, against labels made in the same "
        "way:",
        "",
        f"loss {measured.loss:.4f}, {measured.right:.1%} of labelled cells right.",
        "",
        "| threshold | foreground kept | 80 % of it kept | region's share of the picture "
        "| has a region |" + (" covers 80 % of the true box |" if boxes else ""),
        "|---|---|---|---|---|" + ("---|" if boxes else ""),
    ]
    for row in measured.thresholds:
        is_served = served is not None and abs(row.threshold - served) < 1e-9
        mark = " (served)" if is_served else ""
        cells = [
            f"{row.threshold:g}{mark}",
            f"{row.kept:.1%}",
            f"{row.held:.1%}",
            f"{row.area:.1%}",
            f"{row.found:.1%}",
        ]
        if row.covered is not None:
            cells.append(f"{row.covered:.1%}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
