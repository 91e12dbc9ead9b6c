"""What the free gate lets through."""

from __future__ import annotations

from rpn_plugin.gate import MapGate
from rpn_plugin.roi import Region

SMALL = Region(box=(0, 0, 100, 100), cells=(0, 0, 1, 1), score=0.8)
WIDE = Region(box=(0, 0, 1000, 500), cells=(0, 0, 10, 5), score=0.4)
SIZE = (1000, 1000)


def test_open_unless_told_otherwise() -> None:
    everything = Region(box=(0, 0, 1000, 1000), cells=(0, 0, 10, 10), score=1e-6)
    assert MapGate().is_open([everything], SIZE)
    assert MapGate().is_open([everything, WIDE], SIZE)


def test_without_a_region_there_is_nothing_to_look_at() -> None:
    assert not MapGate().is_open([], SIZE)


def test_peak_is_the_best_regions() -> None:
    assert MapGate(peak=0.8).is_open([SMALL, WIDE], SIZE)
    assert not MapGate(peak=0.81).is_open([SMALL, WIDE], SIZE)


def test_area_is_that_of_all_regions() -> None:
    assert MapGate(area=0.5).is_open([WIDE], SIZE)
    assert not MapGate(area=0.5).is_open([SMALL, WIDE], SIZE)
