"""`python -m loadtests.scaling`: the tables and pictures of docs/scaling.md."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from loadtests.scaling.costs import Ask, Prices, break_even, mean_tokens, questions_even, seconds
from loadtests.scaling.machines import PAPER_GPU
from loadtests.scaling.plots import LOAD, ZOOM, draw_costs, draw_replicas
from loadtests.scaling.queueing import replicas_for, replicas_needed

ASKS = {
    "plain, 256 base tokens": Ask(base=256),
    "plain, 1024": Ask(base=1024),
    "plain, 2304": Ask(base=2304),
    "plain, 4096": Ask(base=4096),
    "zoom always, 256 + 256": ZOOM,
    "zoom half, 256 + 256": replace(ZOOM, zooms=0.5),
    "zoom always, 576 + 576": Ask(base=576, crop=576),
}

_HEAD = f"""\
| request | prefilled: new picture | known | machine ms: new | known \
| replicas for {LOAD:,.0f}/s: 1 question | 8, by picture | 8, at random |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Prints the tables, draws the pictures."""
    parser = argparse.ArgumentParser("python -m loadtests.scaling", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--requests", type=int, default=20_000, help="simulated for each point")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    _print(PAPER_GPU)
    draw_costs(PAPER_GPU, options.out / "scaling-costs.png")
    draw_replicas(PAPER_GPU, options.out / "scaling-replicas.png", options.requests)
    print(f"wrote {options.out}/scaling-costs.png and {options.out}/scaling-replicas.png")


def _print(prices: Prices) -> None:
    print(
        f"{prices.name}; microseconds: a pass {prices.a_pass * 1e6:.0f}, a visual token encoded "
        f"{prices.encode * 1e6:.1f}, a prompt token {prices.prefill * 1e6:.1f}, through the RPN "
        f"{prices.rpn * 1e6:.1f}, a token decoded {prices.decode * 1e6:.0f}"
    )
    print(_HEAD)
    for name, ask in ASKS.items():
        new, known = (seconds(ask, prices, share) for share in (0.0, 1.0))
        cells = [
            f"{mean_tokens(ask, 0).prefilled:.0f}",
            f"{mean_tokens(ask, 1).prefilled:.0f}",
            f"{new * 1e3:.1f}",
            f"{known * 1e3:.1f}",
            f"{replicas_needed(LOAD, new)}",
            *(f"{replicas_for(LOAD, ask, prices, 8, routed)}" for routed in (True, False)),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in ("plain, 1024", "plain, 2304", "plain, 4096"):
        even = questions_even(ASKS[name], ZOOM, prices)
        print(
            f"{name} costs what 256 + 256 with a zoom each costs at {even:.1f} questions a picture"
        )
    for zooms in (0.25, 0.5, 1.0):
        even = break_even(replace(ZOOM, zooms=zooms), prices)
        print(f"256 + 256 tokens with {zooms:.0%} zooms cost what plain costs with {even:.0f}")


if __name__ == "__main__":
    main()
