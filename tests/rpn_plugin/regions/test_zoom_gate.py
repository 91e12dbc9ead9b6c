"""What a gate lets through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rpn_plugin.network.checkpoint import load_rpn_config
from rpn_plugin.regions.boxes import Region
from rpn_plugin.regions.zoom_gate import GateInputs, ZoomGate
from server.shipped_model import SHIPPED_MODEL

SMALL = Region(box=(0, 0, 100, 100), cells=(0, 0, 1, 1), score=0.8)
WIDE = Region(box=(0, 0, 1000, 500), cells=(0, 0, 10, 5), score=0.4)
EVERYTHING = Region(box=(0, 0, 1000, 1000), cells=(0, 0, 10, 10), score=1e-6)


def inputs(
    *regions: Region, confidence: float | None = None, gate_probability: float | None = None
) -> GateInputs:
    return GateInputs(regions, (1000, 1000), confidence, gate_probability)


def test_open_unless_told_otherwise() -> None:
    assert ZoomGate().is_open(inputs(EVERYTHING, confidence=1.0, gate_probability=0.0))
    assert ZoomGate().is_open(inputs(EVERYTHING, WIDE))


def test_without_a_region_there_is_nothing_to_look_at() -> None:
    assert not ZoomGate().is_open(inputs())


def test_peak_is_the_best_regions() -> None:
    assert ZoomGate(min_peak=0.8).is_open(inputs(SMALL, WIDE))
    assert not ZoomGate(min_peak=0.81).is_open(inputs(SMALL, WIDE))


def test_area_is_that_of_all_regions() -> None:
    assert ZoomGate(max_area=0.5).is_open(inputs(WIDE))
    assert not ZoomGate(max_area=0.5).is_open(inputs(SMALL, WIDE))


def test_who_is_sure_does_not_look_again() -> None:
    assert ZoomGate(max_confidence=0.7).is_open(inputs(SMALL, confidence=0.7))
    assert not ZoomGate(max_confidence=0.7).is_open(inputs(SMALL, confidence=0.71))
    assert ZoomGate(max_confidence=1.0).is_open(inputs(SMALL, confidence=1.0))


def test_need_is_what_the_learned_gate_says() -> None:
    assert ZoomGate(min_gate_probability=0.5).is_open(inputs(SMALL, gate_probability=0.5))
    assert not ZoomGate(min_gate_probability=0.5).is_open(inputs(SMALL, gate_probability=0.49))


def test_every_condition_must_hold() -> None:
    gate = ZoomGate(min_peak=0.5, max_area=0.5, max_confidence=0.5, min_gate_probability=0.5)
    assert gate.is_open(inputs(SMALL, confidence=0.4, gate_probability=0.6))
    assert not gate.is_open(inputs(SMALL, confidence=0.6, gate_probability=0.6))
    assert not gate.is_open(inputs(SMALL, confidence=0.4, gate_probability=0.4))
    assert not gate.is_open(inputs(WIDE, confidence=0.4, gate_probability=0.6))


@pytest.mark.parametrize("gate", [ZoomGate(max_confidence=0.5), ZoomGate(min_gate_probability=0.5)])
def test_what_was_not_asked_for_is_not_guessed(gate: ZoomGate) -> None:
    with pytest.raises(ValueError, match="did not compute"):
        gate.is_open(inputs(SMALL))


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"gate_max_confidence": 1.1}, "from 0 to 1"),
        ({"gate_confidence_tokens": 0}, "at least 1"),
        ({"gate_min_probability": 0.5}, "gate_layers is 0"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_with_its_rpn(
    limits: dict[str, float], complaint: str
) -> None:
    shipped = load_rpn_config(SHIPPED_MODEL / "rpn")
    with pytest.raises(ValueError, match=complaint):
        replace(shipped, **limits)  # type: ignore[arg-type]
