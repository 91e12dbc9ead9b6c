"""What the study of gates says of one, on cases made up for it."""

from __future__ import annotations

import pytest

from demo.gate_worth import GATES, Case, area_under_curve, choose, worth

SURE = next(gate for gate in GATES if gate.name == "sure, 2")


def case(sure: float, base: bool, zoom: bool) -> Case:
    return Case(0, 10.0, base, zoom, peak=0.5, area=0.1, said=(0.99, sure, 0.1), need=None)


NEEDLESS = [case(0.9, True, True)] * 10
NEEDED = [case(0.2, False, True)] * 9 + [case(0.95, False, True)]
HOPELESS = [case(0.5, False, False)] * 5


def test_what_a_threshold_is_worth() -> None:
    found = worth(SURE, -0.8, [*NEEDLESS, *NEEDED, *HOPELESS])
    assert found.accuracy == pytest.approx((10 + 9) / 25)
    assert found.zooms == pytest.approx(14 / 25)
    assert (found.needless_skipped, found.needed_skipped) == (1.0, 0.1)


def test_the_area_under_the_curve() -> None:
    """Of ten needed zooms nine look needed beside every needless one, and one beside none."""
    assert area_under_curve(SURE, [*NEEDLESS, *NEEDED, *HOPELESS]) == pytest.approx(0.9)


def test_the_chosen_threshold_costs_a_point_at_most() -> None:
    cases = [*NEEDLESS, *NEEDED, *HOPELESS]
    costly = choose(SURE, cases)
    assert worth(SURE, costly, cases).needless_skipped == 0  # one answer of 25 is four points
    many = [*NEEDLESS * 20, *NEEDED, *HOPELESS]
    assert worth(SURE, choose(SURE, many), many).needless_skipped == 1
    assert SURE.asks(choose(SURE, many)) == {"max_confidence": 0.5, "confidence_tokens": 2}
