"""The bench that ideas are measured with."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from loadtests.ideas.__main__ import IDEAS, main
from loadtests.ideas.alternating import Timed, alternate
from loadtests.ideas.crop_budget import RULES


def test_ways_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[tuple[str, int]] = []
    ways = {name: lambda n, name=name: order.append((name, n)) for name in "ab"}
    timed = alternate(ways, rounds=2)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert [len(seconds) for seconds in timed.seconds.values()] == [2, 2]


def test_ratios_are_paired_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    timed = Timed(
        {"old": (2.0, 30.0, 4.0), "new": (1.0, 10.0, 2.0)},
        {"old": (1.0, 1.5, 1.0), "new": (1.0, 1.0, 1.0)},
    )
    assert timed.ratio("old", "new").rounds == (2.0, 3.0, 2.0)
    timed.print("old")
    printed = capsys.readouterr().out
    assert "old / this: 2.000 (2.000–3.000)" in printed
    assert "old / this: 1.000 (1.000–1.500)" in printed


ALONE = """
import time
from loadtests.ideas.alternating import alternate
ways = {"sleeps": lambda _: time.sleep(0.2), "works": lambda _: sum(range(3 * 10**6))}
timed = alternate(ways, rounds=1)
print(timed.seconds["sleeps"][0], timed.processor["sleeps"][0], timed.processor["works"][0])
"""


def test_the_processor_is_not_working_while_one_sleeps() -> None:
    """In a process of its own: the clock counts all children, and ours may have engines."""
    said = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True
    ).stdout
    slept, sleeping, working = map(float, said.split())
    assert sleeping < slept
    assert sleeping < working


@pytest.mark.parametrize("idea", IDEAS)
def test_every_idea_can_be_measured(idea: str) -> None:
    module = importlib.import_module(f"loadtests.ideas.{idea.replace('-', '_')}")
    assert callable(module.measure)


def test_unknown_ideas_are_refused() -> None:
    with pytest.raises(SystemExit):
        main(["perpetual-motion"])


def test_crops_are_no_larger_than_the_budget_and_no_smaller_than_a_view() -> None:
    for name, rule in RULES.items():
        assert 4 <= rule([0, 0, 5, 5]) <= 64, name
        assert 4 <= rule([0, 0, 800, 800]) <= 64, name
    assert RULES["not enlarged"]([0, 0, 140, 112]) == 20
