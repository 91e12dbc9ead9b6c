"""Pass 1 of another question about a picture: the RPN's part of the picture kept, or made again."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from loadtests.compare.shapes import SHAPES, write_model
from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask, engines, noise
from server.launch import SHIPPED_MODEL


def measure(rounds: int) -> None:
    """Both models, with small and large base views."""
    for rows, cols in [(8, 8), (24, 24)]:
        _compare("shipped model", SHIPPED_MODEL, {}, rows, cols, rounds)
    with tempfile.TemporaryDirectory() as folder:
        medium = write_model(SHAPES["medium"], Path(folder))
        _compare("medium, random", medium, {"load_format": "dummy"}, 24, 24, max(3, rounds // 3))


def _compare(
    title: str, model: Path, arguments: dict[str, object], rows: int, cols: int, rounds: int
) -> None:
    arms = {"kept": arguments, "made again": {**arguments, "memory_mib": 0}}
    views = [noise(rows, cols, number) for number in range(rounds + 1)]
    with engines(model, arms) as running:

        def ask(arm: str, words: str, number: int, roi: bool = True) -> None:
            running[arm].ask(Ask([views[number]], f"{words} {number}?", roi=roi))

        for arm in running:
            for number in range(rounds + 1):
                ask(arm, "What is it", number)
        timed = alternate(
            {
                "RPN's part made again": partial(ask, "made again", "Where is it, and why"),
                "RPN's part kept": partial(ask, "kept", "Where is it, and why"),
                "no RoI map (plain)": partial(ask, "kept", "Who made it, and how", roi=False),
            },
            rounds,
        )
    print(f"\n{title}, {rows * cols} image tokens, another question about a known picture")
    timed.print("RPN's part made again")
