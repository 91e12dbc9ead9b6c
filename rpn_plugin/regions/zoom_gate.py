"""Whether a second pass is worth its cost for the regions that pass 1 proposed.

Four signals of pass 1 can close the gate. The RoI map is flat: its best region has a low peak. The
regions cover most of the picture, so a crop shows little more than the base view. The model is
confident in the first tokens of its answer from the base view. The learned gate
(`network/learned_gate.py`) predicts from the question's hidden states that no zoom is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rpn_plugin.regions.boxes import Region


@dataclass(frozen=True)
class GateInputs:
    """What pass 1 produced for one picture of `image_size` = (width, height) pixels.

    `regions` are sorted best first. `confidence` is the lowest probability among the first tokens
    of the base view's answer, `gate_probability` the learned gate's output; both lie in [0, 1], and
    None means that pass 1 did not compute it.
    """

    regions: Sequence[Region]
    image_size: tuple[int, int]
    confidence: float | None = None
    gate_probability: float | None = None


@dataclass(frozen=True)
class ZoomGate:
    """Limits in [0, 1], all of which must hold for a second pass. The default is always open.

    `min_peak`: lowest score of the best region. `max_area`: largest share of the picture that the
    regions cover together. `max_confidence`: highest confidence in the first `confidence_tokens`
    tokens of the base view's answer. `min_gate_probability`: lowest output of the learned gate.
    None for one of the last two skips that check.
    """

    min_peak: float = 0.0
    max_area: float = 1.0
    max_confidence: float | None = None
    confidence_tokens: int = 1
    min_gate_probability: float | None = None

    def is_open(self, inputs: GateInputs) -> bool:
        """Whether to run a second pass. ValueError if `inputs` lack a value that a limit needs."""
        if not inputs.regions or inputs.regions[0].score < self.min_peak:
            return False
        if self.max_confidence is not None and _present(inputs.confidence) > self.max_confidence:
            return False
        if (
            self.min_gate_probability is not None
            and _present(inputs.gate_probability) < self.min_gate_probability
        ):
            return False
        width, height = inputs.image_size
        boxes = [region.box for region in inputs.regions]
        covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes)
        return min(1.0, covered / (width * height)) <= self.max_area


def _present(probability: float | None) -> float:
    if probability is None:
        raise ValueError("the gate has a limit for a value that pass 1 did not compute")
    return probability


ALWAYS_OPEN = ZoomGate()
