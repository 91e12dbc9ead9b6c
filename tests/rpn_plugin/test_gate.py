"""What a gate lets through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rpn_plugin.checkpoint import load_rpn_config
from rpn_plugin.gate import Gate, Seen
from rpn_plugin.roi import Region
from server.launch import SHIPPED_MODEL

SMALL = Region(box=(0, 0, 100, 100), cells=(0, 0, 1, 1), score=0.8)
WIDE = Region(box=(0, 0, 1000, 500), cells=(0, 0, 10, 5), score=0.4)
EVERYTHING = Region(box=(0, 0, 1000, 1000), cells=(0, 0, 10, 10), score=1e-6)


def seen(*regions: Region, sure: float | None = None, need: float | None = None) -> Seen:
    return Seen(regions, (1000, 1000), sure, need)


def test_open_unless_told_otherwise() -> None:
    assert Gate().is_open(seen(EVERYTHING, sure=1.0, need=0.0))
    assert Gate().is_open(seen(EVERYTHING, WIDE))


def test_without_a_region_there_is_nothing_to_look_at() -> None:
    assert not Gate().is_open(seen())


def test_peak_is_the_best_regions() -> None:
    assert Gate(peak=0.8).is_open(seen(SMALL, WIDE))
    assert not Gate(peak=0.81).is_open(seen(SMALL, WIDE))


def test_area_is_that_of_all_regions() -> None:
    assert Gate(area=0.5).is_open(seen(WIDE))
    assert not Gate(area=0.5).is_open(seen(SMALL, WIDE))


def test_who_is_sure_does_not_look_again() -> None:
    assert Gate(sure=0.7).is_open(seen(SMALL, sure=0.7))
    assert not Gate(sure=0.7).is_open(seen(SMALL, sure=0.71))
    assert Gate(sure=1.0).is_open(seen(SMALL, sure=1.0))


def test_need_is_what_the_learned_gate_says() -> None:
    assert Gate(need=0.5).is_open(seen(SMALL, need=0.5))
    assert not Gate(need=0.5).is_open(seen(SMALL, need=0.49))


def test_every_condition_must_hold() -> None:
    gate = Gate(peak=0.5, area=0.5, sure=0.5, need=0.5)
    assert gate.is_open(seen(SMALL, sure=0.4, need=0.6))
    assert not gate.is_open(seen(SMALL, sure=0.6, need=0.6))
    assert not gate.is_open(seen(SMALL, sure=0.4, need=0.4))
    assert not gate.is_open(seen(WIDE, sure=0.4, need=0.6))


@pytest.mark.parametrize("gate", [Gate(sure=0.5), Gate(need=0.5)])
def test_what_was_not_asked_for_is_not_guessed(gate: Gate) -> None:
    with pytest.raises(ValueError, match="not asked for"):
        gate.is_open(seen(SMALL))


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"gate_sure": 1.1}, "from 0 to 1"),
        ({"gate_sure_tokens": 0}, "at least 1"),
        ({"gate_need": 0.5}, "gate_layers is 0"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_with_its_rpn(
    limits: dict[str, float], complaint: str
) -> None:
    shipped = load_rpn_config(SHIPPED_MODEL / "rpn")
    with pytest.raises(ValueError, match=complaint):
        replace(shipped, **limits)  # type: ignore[arg-type]
