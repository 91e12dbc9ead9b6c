"""What sdrpn is for, end to end: codes that the base view lost are read from the region found.

Pages of a seed that training never saw, asked through the real endpoint. The bounds are far looser
than what `make demo-eval` measures on 500 pages: they tell working from broken, not good from
better.
"""

from __future__ import annotations

from statistics import mean

import pytest

from demo.eval import evaluate
from demo.evaluation.eval_report import Result
from demo.pages import LEGIBLE_PX, LOST_PX, write_pages
from tests.conftest import Endpoint

SEED = 2_000_003
PAGES = 48


@pytest.fixture(scope="module")
def results(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    folder = tmp_path_factory.mktemp("pages")
    write_pages(SEED, PAGES, folder)
    return evaluate(endpoint.url, folder)


def right(results: list[Result], mode: str, low: float = 0.0, high: float = 1e9) -> float:
    """The share of right answers where the code's height in the base view is in [low, high)."""
    return mean(r.right for r in results if r.mode == mode and low <= r.text_px < high)


def test_the_region_brings_back_what_the_base_view_lost(results: list[Result]) -> None:
    assert right(results, "base", high=LOST_PX) < 0.2
    assert right(results, "rpn", high=LOST_PX) > 0.6


def test_what_is_legible_is_read_without_a_region(results: list[Result]) -> None:
    assert right(results, "base", low=LEGIBLE_PX) > 0.6


def test_the_right_region_makes_the_difference(results: list[Result]) -> None:
    assert right(results, "oracle") > 0.75
    assert right(results, "distractor box", high=LOST_PX) < 0.2
    assert right(results, "random box", high=LOST_PX) < 0.3


def test_the_region_covers_the_thing_asked_for(results: list[Result]) -> None:
    covers = [r.cover for r in results if r.cover is not None]
    assert len(covers) == PAGES
    assert mean(cover >= 0.8 for cover in covers) > 0.75
