"""What a gate would have answered, computed from the answers without and with zoom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import mannwhitneyu

LARGEST_LOSS = 0.01
"""How much of the accuracy of always zooming a gate may lose."""


@dataclass(frozen=True)
class Case:
    """One page: whether the two answers are right, and what gates decide by.

    `peak` and `area` are of the regions, `probabilities` of the tokens of the base view's answer,
    `gate_probability` of the learned gate, None if there is none.
    """

    page: int
    text_px: float
    base_right: bool
    zoom_right: bool
    peak: float
    area: float
    probabilities: tuple[float, ...]
    gate_probability: float | None

    @property
    def needless(self) -> bool:
        """A zoom is needless: the base view's answer is right."""
        return self.base_right

    @property
    def needed(self) -> bool:
        """A zoom is needed: only the answer with zoom is right."""
        return self.zoom_right and not self.base_right


@dataclass(frozen=True)
class Gate:
    """A gate zooms where `score(case) >= threshold`; `request(threshold)` is its `roi.gate`."""

    name: str
    score: Callable[[Case], float]
    request: Callable[[float], dict[str, float]]


def _confidence_gate(tokens: int) -> Gate:
    return Gate(
        f"confidence, {tokens}",
        lambda case: -min(case.probabilities[:tokens]),
        lambda threshold: {"max_confidence": -threshold, "confidence_tokens": tokens},
    )


LEARNED = "learned"
CONFIDENCE_GATES = (_confidence_gate(1), _confidence_gate(2))
GATES = (
    Gate("peak", lambda case: case.peak, lambda threshold: {"min_peak": threshold}),
    Gate("area", lambda case: -case.area, lambda threshold: {"max_area": -threshold}),
    *CONFIDENCE_GATES,
    Gate(
        LEARNED,
        lambda case: case.gate_probability or 0.0,
        lambda threshold: {"min_gate_probability": threshold},
    ),
)


@dataclass(frozen=True)
class GateOutcome:
    """A gate at a threshold, in shares: right answers, zooms of all pages, needless zooms skipped
    and needed zooms skipped."""

    gate: str
    threshold: float
    accuracy: float
    zooms: float
    needless_skipped: float
    needed_skipped: float


def outcome(gate: Gate, threshold: float, cases: Sequence[Case]) -> GateOutcome:
    """What the gate would have answered in these cases."""
    zoomed = [gate.score(case) >= threshold for case in cases]
    pairs = list(zip(cases, zoomed, strict=True))
    return GateOutcome(
        gate.name, threshold,
        accuracy=share(case.zoom_right if zoom else case.base_right for case, zoom in pairs),
        zooms=share(zoomed),
        needless_skipped=share(not zoom for case, zoom in pairs if case.needless),
        needed_skipped=share(not zoom for case, zoom in pairs if case.needed),
    )  # fmt: skip


def best_threshold(gate: Gate, cases: Sequence[Case]) -> float:
    """The threshold that skips most needless zooms and loses no more than LARGEST_LOSS."""
    always = share(case.zoom_right for case in cases)
    outcomes = [outcome(gate, threshold, cases) for threshold in sorted(map(gate.score, cases))]
    close = [o for o in outcomes if o.accuracy >= always - LARGEST_LOSS]  # the lowest skips nothing
    return max(close, key=lambda o: (o.needless_skipped, o.accuracy)).threshold


def area_under_curve(gate: Gate, cases: Sequence[Case]) -> float:
    """How often the score of a needed zoom is above that of a needless one."""
    needed = [gate.score(case) for case in cases if case.needed]
    needless = [gate.score(case) for case in cases if case.needless]
    return float(mannwhitneyu(needed, needless).statistic) / (len(needed) * len(needless))


def quantiles(gate: Gate, cases: Sequence[Case]) -> Iterator[float]:
    """Thresholds that skip from a tenth to nine tenths of the pages."""
    scores = sorted(gate.score(case) for case in cases)
    for tenth in range(1, 10):
        yield scores[len(scores) * tenth // 10]


def share(flags: Iterable[bool]) -> float:
    """The mean; nan if there are none."""
    values = [float(flag) for flag in flags]
    return sum(values) / len(values) if values else float("nan")
