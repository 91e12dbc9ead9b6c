"""The second step of a gate: it learns which questions need a zoom, and what it is then worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.batches import chunks
from rpn_plugin.distill.data.states import StateBatch, States
from rpn_plugin.distill.gate.gate_answers import AnswerPair
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate

MAY_COST = 0.005
"""The served threshold is the one that skips most among those that lose no more right answers than
this share of the questions, on held-out ones."""


@dataclass(frozen=True)
class GateResult:
    """A threshold on held-out questions: the share of right answers, and of zooms made; of needless
    zooms (the base view's answer is right) and of needed ones (only the zoomed is) skipped."""

    threshold: float
    right: float
    zooms: float
    needless_skipped: float
    needed_skipped: float


def new_gate(base: BaseModel, config: RpnConfig) -> LearnedGate:
    """A gate that begins as a copy of the model's layers after the tap, float32, and undecided."""
    gate = LearnedGate(config)
    for number, layer in enumerate(gate.layers):
        source = base.layers[config.tap_layer + number].state_dict()
        layer.load_state_dict({name: source[name].float() for name in layer.state_dict()})
    torch.nn.init.zeros_(gate.head.weight)
    torch.nn.init.zeros_(gate.head.bias)
    return gate


def gate_loss(
    gate: LearnedGate, batch: StateBatch, labels: Sequence[Tensor], bfloat16: bool
) -> tuple[Tensor, int, Tensor]:
    """A gate's Loss: binary cross-entropy."""
    logits, truth = gate_logits(gate, batch, bfloat16), torch.stack(list(labels))
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    return loss, len(labels), ((logits > 0) == (truth > 0.5)).sum()


def gate_logits(gate: LearnedGate, batch: StateBatch, bfloat16: bool) -> Tensor:
    """Logits float32 [batch]."""
    tapped = batch.tapped
    with torch.autocast(tapped.hidden.device.type, torch.bfloat16, enabled=bfloat16):
        logits: Tensor = gate(tapped.hidden.float(), tapped.positions, tapped.query_index)
    return logits.float()


@torch.inference_mode()
def needs(
    gate: LearnedGate, states: States, numbers: Sequence[int], settings: DistillSettings
) -> dict[int, float]:
    """The gate's probabilities by sample number."""
    found: dict[int, float] = {}
    for batch in states.batches(chunks(numbers, settings.micro_batch)):
        logits = gate_logits(gate, batch, settings.precision == "bfloat16")
        found |= dict(zip(batch.numbers, logits.sigmoid().tolist(), strict=True))
    return found


def measure_gate(held_out: Sequence[AnswerPair], need: dict[int, float]) -> list[GateResult]:
    """What every threshold that makes a difference is worth, the lowest first."""
    return [_at(threshold, held_out, need) for threshold in [0.0, *sorted(need.values())]]


def best_threshold(measured: Sequence[GateResult]) -> GateResult:
    """See MAY_COST; `measured` begins with always zooming."""
    enough = [row for row in measured if row.right >= measured[0].right - MAY_COST]
    return max(enough, key=lambda row: (row.needless_skipped, row.right))


def _at(threshold: float, held_out: Sequence[AnswerPair], need: dict[int, float]) -> GateResult:
    zooms = [need[item.number] >= threshold for item in held_out]
    pairs = list(zip(held_out, zooms, strict=True))
    return GateResult(
        threshold,
        right=_share([item.zoom_right if zoom else item.base_right for item, zoom in pairs]),
        zooms=_share(zooms),
        needless_skipped=_share([not zoom for item, zoom in pairs if item.base_right]),
        needed_skipped=_share([not zoom for item, zoom in pairs if item.need == 1]),
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else float("nan")
