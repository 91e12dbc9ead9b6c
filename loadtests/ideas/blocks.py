"""Cache blocks of 32, 64 and 128 tokens: what pass 2 computes again, and what else changes.

A prefix is found in whole blocks, so half a block of it is computed twice on average. The CPU's
least block is 32 tokens, its default 128.
"""

from __future__ import annotations

import statistics
from functools import partial

from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask, Engine, engines, noise
from server.launch import SHIPPED_MODEL

_BLOCKS = (128, 64, 32)
_GRIDS = [(8, 8), (7, 9), (10, 6), (6, 10), (9, 7), (5, 12)]


def measure(rounds: int) -> None:
    """Two passes over new pictures of several shapes, and decoding alone."""
    arms = {f"blocks of {size}": {"block_size": size} for size in _BLOCKS}
    with engines(SHIPPED_MODEL, arms) as running:
        cached: dict[str, list[float]] = {name: [] for name in running}

        def two_passes(name: str, number: int) -> None:
            for place, (rows, cols) in enumerate(_GRIDS):
                seed = number * len(_GRIDS) + place
                base, crop = noise(rows, cols, seed), noise(8, 8, 10**6 + seed)
                running[name].ask(Ask([base], "What is the code on the red tag?", roi=True))
                (second,) = running[name].ask(Ask([base, crop], "What is the code on the red tag?"))
                cached[name].append(second.num_cached_tokens / len(second.prompt_token_ids or [1]))

        passes = alternate({name: partial(two_passes, name) for name in running}, rounds)
        decoding = alternate(
            {name: partial(_decode, engine) for name, engine in running.items()}, rounds
        )
    first = f"blocks of {_BLOCKS[0]}"
    print(f"\nshipped model, two passes over {len(_GRIDS)} new pictures")
    passes.print(first)
    for name, shares in cached.items():
        print(f"{name:28} {statistics.mean(shares):.3f} of pass 2's prompt cached")
    print("\n16 at once, 64 tokens decoded for each")
    decoding.print(first)


def _decode(engine: Engine, _: int) -> None:
    engine.ask(*(Ask([], f"Count from {n}.", max_tokens=64) for n in range(16)))
