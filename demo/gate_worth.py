"""What a gate would have answered, from the answers without and with zoom: pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import mannwhitneyu

CLOSEST = 0.01
"""How much of always zooming's accuracy a gate may cost."""


@dataclass(frozen=True)
class Case:
    """One page: were the two answers right, and what gates see: its map, and how probable each
    token of the base view's answer was."""

    page: int
    text_px: float
    base_right: bool
    zoom_right: bool
    peak: float
    area: float
    said: tuple[float, ...]
    need: float | None

    @property
    def needless(self) -> bool:
        """The base view's answer is right."""
        return self.base_right

    @property
    def needed(self) -> bool:
        """Only the answer with zoom is right."""
        return self.zoom_right and not self.base_right


@dataclass(frozen=True)
class Gate:
    """A gate looks again where `sees(case) >= threshold`; `asks(threshold)` is its `roi.gate`."""

    name: str
    sees: Callable[[Case], float]
    asks: Callable[[float], dict[str, float]]


def _sure(tokens: int) -> Gate:
    return Gate(
        f"sure, {tokens}",
        lambda case: -min(case.said[:tokens]),
        lambda threshold: {"max_confidence": -threshold, "confidence_tokens": tokens},
    )


GATES = (
    Gate("peak", lambda case: case.peak, lambda threshold: {"min_peak": threshold}),
    Gate("area", lambda case: -case.area, lambda threshold: {"max_area": -threshold}),
    _sure(1),
    _sure(2),
    Gate(
        "need", lambda case: case.need or 0.0, lambda threshold: {"min_gate_probability": threshold}
    ),
)


@dataclass(frozen=True)
class Worth:
    """A gate at a threshold: share of right answers, of all zooms that it makes, of needless zooms
    skipped and of needed ones skipped."""

    gate: str
    threshold: float
    accuracy: float
    zooms: float
    needless_skipped: float
    needed_skipped: float


def worth(gate: Gate, threshold: float, cases: Sequence[Case]) -> Worth:
    """What the two answers of each case say of a gate."""
    opened = [gate.sees(case) >= threshold for case in cases]
    pairs = list(zip(cases, opened, strict=True))
    return Worth(
        gate.name, threshold,
        accuracy=share(case.zoom_right if is_open else case.base_right for case, is_open in pairs),
        zooms=share(opened),
        needless_skipped=share(not is_open for case, is_open in pairs if case.needless),
        needed_skipped=share(not is_open for case, is_open in pairs if case.needed),
    )  # fmt: skip


def choose(gate: Gate, cases: Sequence[Case]) -> float:
    """The threshold that skips most needless zooms among those that cost no more than CLOSEST."""
    always = share(case.zoom_right for case in cases)
    tried = [worth(gate, threshold, cases) for threshold in sorted(map(gate.sees, cases))]
    close = [w for w in tried if w.accuracy >= always - CLOSEST]  # the lowest skips nothing
    return max(close, key=lambda w: (w.needless_skipped, w.accuracy)).threshold


def area_under_curve(gate: Gate, cases: Sequence[Case]) -> float:
    """How often the gate sees more in a needed zoom than in a needless one."""
    needed = [gate.sees(case) for case in cases if case.needed]
    needless = [gate.sees(case) for case in cases if case.needless]
    return float(mannwhitneyu(needed, needless).statistic) / (len(needed) * len(needless))


def quantiles(gate: Gate, cases: Sequence[Case]) -> Iterator[float]:
    """Thresholds that skip from a tenth to nine tenths of the pages."""
    seen = sorted(gate.sees(case) for case in cases)
    for tenth in range(1, 10):
        yield seen[len(seen) * tenth // 10]


def share(flags: Iterable[bool]) -> float:
    """The mean; nan of nothing."""
    values = [float(flag) for flag in flags]
    return sum(values) / len(values) if values else float("nan")
