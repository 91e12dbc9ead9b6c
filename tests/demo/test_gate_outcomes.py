"""What the study of gates computes, on made-up cases."""

from __future__ import annotations

import pytest

from demo.evaluation.gate_outcomes import (
    CONFIDENCE_GATES,
    Case,
    area_under_curve,
    best_threshold,
    outcome,
)

GATE = CONFIDENCE_GATES[1]


def case(confidence: float, base: bool, zoom: bool) -> Case:
    return Case(
        0, 10.0, base, zoom, peak=0.5, area=0.1, probabilities=(0.99, confidence, 0.1),
        gate_probability=None,
    )  # fmt: skip


NEEDLESS = [case(0.9, True, True)] * 10
NEEDED = [case(0.2, False, True)] * 9 + [case(0.95, False, True)]
HOPELESS = [case(0.5, False, False)] * 5


def test_the_outcome_of_a_gate_at_a_threshold() -> None:
    result = outcome(GATE, -0.8, [*NEEDLESS, *NEEDED, *HOPELESS])
    assert result.accuracy == pytest.approx((10 + 9) / 25)
    assert result.zooms == pytest.approx(14 / 25)
    assert (result.needless_skipped, result.needed_skipped) == (1.0, 0.1)


def test_the_area_under_the_curve() -> None:
    """Nine of ten needed zooms have a higher score than every needless one, the tenth a lower."""
    assert area_under_curve(GATE, [*NEEDLESS, *NEEDED, *HOPELESS]) == pytest.approx(0.9)


def test_the_best_threshold_costs_a_point_at_most() -> None:
    cases = [*NEEDLESS, *NEEDED, *HOPELESS]
    costly = best_threshold(GATE, cases)
    assert outcome(GATE, costly, cases).needless_skipped == 0  # one answer of 25 is four points
    many = [*NEEDLESS * 20, *NEEDED, *HOPELESS]
    threshold = best_threshold(GATE, many)
    assert outcome(GATE, threshold, many).needless_skipped == 1
    assert GATE.request(threshold) == {"max_confidence": 0.5, "confidence_tokens": 2}
