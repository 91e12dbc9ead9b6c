"""What decoding costs more with the tap and the connector, when nobody asks for a RoI map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask, Engine, engines
from server.launch import SHIPPED_MODEL

_TOKENS = 128


def measure(rounds: int) -> None:
    """One and sixteen at once; `_TOKENS` decoded for each."""
    with engines(SHIPPED_MODEL, {"stock vLLM": {"stock": True}, "sdrpn": {}}) as running:
        for at_once in (1, 16):
            asks = [Ask([], f"Count from {n}.", max_tokens=_TOKENS) for n in range(at_once)]
            timed = alternate(
                {name: partial(_decode, engine, asks) for name, engine in running.items()}, rounds
            )
            print(f"\nshipped model, {at_once} at once, {_TOKENS} tokens decoded for each")
            timed.print("stock vLLM")
            extra = [
                (ours - stock) / _TOKENS * 1e6
                for ours, stock in zip(
                    timed.seconds["sdrpn"], timed.seconds["stock vLLM"], strict=True
                )
            ]
            print(f"a step costs {sorted(extra)[len(extra) // 2]:+.0f} us more (median)")


def _decode(engine: Engine, asks: Sequence[Ask], _: int) -> None:
    engine.ask(*asks)
