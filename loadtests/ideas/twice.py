"""What pass 2 processes although pass 1 has: rendering, resizing and hashing of the base view.

Views go to vLLM with a name each, by which its processor cache finds them. Timed is the API
process's part alone (`InputProcessor.process_inputs`), without the engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask, Engine, View, engines, noise
from server.launch import SHIPPED_MODEL

_QUESTION = "What is the code on the red tag?"
_EACH = 8


def measure(rounds: int) -> None:
    """Small and large base views, with a crop of the shipped model's budget."""
    with engines(SHIPPED_MODEL, {"sdrpn": {}}) as running:
        for side in (8, 32):
            _compare(running["sdrpn"], side, rounds)


def _compare(engine: Engine, side: int, rounds: int) -> None:
    known = noise(side, side, 0)
    seeds = itertools.count(1)
    crops = _views(8, rounds, seeds), _views(8, rounds, seeds), _views(8, rounds, seeds)
    new = _views(side, rounds, seeds)

    def process(views: Sequence[Sequence[View]]) -> None:
        for each in views:
            engine.process(Ask(each, _QUESTION))

    process([[known]])
    timed = alternate(
        {
            "crop alone": lambda n: process([[crop] for crop in crops[0][n]]),
            "base view known, and crop": lambda n: process([[known, c] for c in crops[1][n]]),
            "base view new, and crop": lambda n: process(
                list(zip(new[n], crops[2][n], strict=True))
            ),
        },
        rounds,
    )
    print(f"\n{side * side} base tokens, {_EACH} prompts")
    timed.print("crop alone")


def _views(side: int, rounds: int, seeds: Iterator[int]) -> list[list[View]]:
    """Views that were never seen, for each round and the warm-up."""
    return [[noise(side, side, next(seeds)) for _ in range(_EACH)] for _ in range(rounds + 1)]
