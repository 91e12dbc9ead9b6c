"""The simulation agrees with the closed forms where both are exact; and costs add up."""

from __future__ import annotations

import statistics

import pytest

from loadtests.scaling.costs import (
    Ask,
    Prices,
    base_to_read,
    break_even,
    mean_tokens,
    seconds,
    tokens,
)
from loadtests.scaling.machines import PAPER_GPU
from loadtests.scaling.queueing import known_share, mean_wait, replicas_needed
from loadtests.scaling.simulation import Plan, simulate

PRICES = Prices("test", a_pass=1e-3, encode=2e-5, prefill=3e-5, decode=1e-4, rpn=5e-6)
PLAIN = Ask(base=256)
ZOOM = Ask(base=256, crop=144, zooms=0.5)
REQUESTS = 30_000


def test_waiting_is_pollaczek_and_khinchines_for_one_pass() -> None:
    work = seconds(PLAIN, PRICES)
    load = 0.7 / work
    found = simulate(Plan(PLAIN, PRICES, load, replicas=1), REQUESTS)
    assert statistics.fmean(found.waits) == pytest.approx(mean_wait(load, [work]), rel=0.06)
    assert found.busy == pytest.approx(0.7, rel=0.02)


def test_waiting_with_known_and_new_pictures() -> None:
    """Far apart, so that the questions about a picture arrive as if at random: half are known."""
    new, known = (PRICES.seconds(tokens(PLAIN, k), 1) for k in (False, True))
    load = 0.6 / ((new + known) / 2)
    plan = Plan(PLAIN, PRICES, load, replicas=1, questions=2, gap=2000 / load)
    found = simulate(plan, REQUESTS)
    assert found.known == pytest.approx(0.5, abs=0.02)
    assert statistics.fmean(found.waits) == pytest.approx(mean_wait(load, [new, known]), rel=0.08)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_replicas_are_as_busy_as_costs_say(share: float) -> None:
    ask = Ask(base=256, crop=144, zooms=share)
    load = 0.5 / seconds(ask, PRICES)
    found = simulate(Plan(ask, PRICES, load, replicas=1), 20_000)
    assert found.busy == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("questions", [1, 2, 8])
@pytest.mark.parametrize("by_picture", [True, False])
def test_pictures_known(questions: int, by_picture: bool) -> None:
    plan = Plan(
        ZOOM, PRICES, load=10.0, replicas=4, questions=questions,
        routing="by picture" if by_picture else "at random",
    )  # fmt: skip
    found = simulate(plan, 24_000, warm_up=0.0)
    assert found.known == pytest.approx(known_share(questions, 4, by_picture), abs=0.01)


def test_a_replica_that_forgets_knows_less() -> None:
    plan = Plan(ZOOM, PRICES, load=10.0, replicas=1, questions=8, gap=10.0)
    forgetful = Plan(ZOOM, PRICES, load=10.0, replicas=1, questions=8, gap=10.0, pictures=4)
    assert simulate(forgetful, 8000).known < simulate(plan, 8000).known - 0.2


def test_tokens_of_a_request() -> None:
    ask = Ask(base=100, crop=50, zooms=1.0, text=20, question=30, answer=10, block=16)
    first, again = tokens(ask, known=False), tokens(ask, known=True)
    assert (first.encoded, first.prefilled, first.decoded, first.rpn) == (150, 238, 10, 150)
    assert (again.encoded, again.prefilled, again.rpn) == (50, 126, 38)
    half = mean_tokens(ask, 0.5)
    assert half.prefilled == (238 + 126) / 2


def test_break_even_costs_the_same() -> None:
    base = break_even(ZOOM, PAPER_GPU)
    assert seconds(Ask(base=round(base)), PAPER_GPU) == pytest.approx(
        seconds(ZOOM, PAPER_GPU), rel=0.01
    )


def test_a_picture_is_never_shown_larger_than_it_is() -> None:
    assert base_to_read(280 * 280, text_height=4.0) == 100
    assert base_to_read(280 * 280, text_height=24.0) == 25


def test_more_replicas_than_can_be_busy() -> None:
    assert replicas_needed(1000, 0.007, busy=0.7) == 10
    with pytest.raises(ValueError, match="busy"):
        mean_wait(10, [0.2])
