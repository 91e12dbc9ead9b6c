"""The model card of a learned gate: what it was made of, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence

from rpn_plugin.distill.gate.gate_answers import AnswerPair
from rpn_plugin.distill.gate.gate_training import GateResult
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.network.config import RpnConfig

_ROWS = 12


def gate_card(
    model: str,
    data: str,
    answered: Sequence[AnswerPair],
    config: RpnConfig,
    settings: DistillSettings,
    measured: Sequence[GateResult],
) -> str:
    """Markdown with the front matter that model hubs read."""
    needless = sum(item.need == 0 for item in answered)
    needed = sum(item.need == 1 for item in answered)
    return f"""\
---
base_model: {model}
library_name: sdrpn
tags: [region-proposal, gate, {config.family}]
---

# Region proposal network for {model}, with a learned gate

The gate was made by `sdrpn distill gate`. Serve it with

    sdrpn serve {model} --rpn THIS_FOLDER

and let it decide with `"roi": {{"gate": true}}` in a request. `"gate_default": true` in
`rpn_config.json` makes it decide wherever a request says nothing.

| | |
|---|---|
| data | {data}: {len(answered)} questions answered with and without zoom |
| taught | {needless} that need no zoom, {needed} that need one; the others teach nothing |
| shape | {config.gate_layers} layers after layer {config.tap_layer}, a linear head |
| trained | {settings.epochs:g} epochs of {settings.batch} a step, rate {settings.lr:g} |

{_table(measured, config.gate_min_probability)}"""


def _table(measured: Sequence[GateResult], served: float) -> str:
    if not measured:
        return "Nothing was held out to measure it on.\n"
    lines = [
        "On questions held out. A zoom is needless if the base view's answer is right, needed if "
        "only the zoomed answer is:\n",
        "| zoom if need is at least | right answers | zooms made | needless skipped | "
        "needed skipped |",
        "|---|---|---|---|---|",
    ]
    some = measured[:: max(1, len(measured) // _ROWS)]
    chosen = [row for row in measured if row.threshold == served]
    for row in sorted({*some, *chosen[:1]}, key=lambda row: row.threshold):
        mark = " (chosen)" if row.threshold == served else ""
        lines.append(
            f"| {row.threshold:.4g}{mark} | {row.right:.1%} | {row.zooms:.1%} | "
            f"{row.needless_skipped:.1%} | {row.needed_skipped:.1%} |"
        )
    return "\n".join(lines) + "\n"
