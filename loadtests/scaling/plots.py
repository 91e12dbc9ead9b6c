"""The trade-offs as pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from loadtests.scaling.costs import Ask, Prices, base_to_read, break_even, seconds
from loadtests.scaling.queueing import known_share, replicas_for
from loadtests.scaling.simulation import Plan, Routing, simulate

ZOOM = Ask(base=256, crop=256)
HEIGHTS = (48, 24, 16, 12)
"""Heights of text in the original, in pixels."""
LOAD = 1000.0
_ROUTINGS: tuple[Routing, ...] = ("by picture", "at random", "least busy")


def draw_costs(prices: Prices, path: Path) -> None:
    """Cost over picture size, and over the share of zooms."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _over_picture_size(left, prices)
    _over_zooms(right, prices)
    figure.suptitle(prices.name, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_replicas(prices: Prices, path: Path, requests: int) -> None:
    """Replicas for LOAD over questions per picture, and latency over load, by routing."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _over_questions(left, prices)
    _over_load(right, prices, requests)
    figure.suptitle(prices.name, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _over_picture_size(axes: Axes, prices: Prices) -> None:
    megapixels = np.geomspace(0.2, 24, 60)
    for height in HEIGHTS:
        cost = [
            1e3 * seconds(Ask(base=base_to_read(int(mp * 1e6), height)), prices)
            for mp in megapixels
        ]
        axes.plot(megapixels, cost, label=f"plain, text {height} px tall")
    for zooms, style in ((1.0, "-"), (0.5, "--")):
        axes.axhline(
            1e3 * seconds(replace(ZOOM, zooms=zooms), prices), color="black", linestyle=style,
            label=f"{ZOOM.base} + {ZOOM.crop} tokens, {zooms:.0%} zoom",
        )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlabel="picture, megapixels", ylabel="machine ms a request",
        title="base tokens enough to read by, or a zoom",
    )  # fmt: skip
    axes.legend(fontsize=7)


def _over_zooms(axes: Axes, prices: Prices) -> None:
    shares = np.linspace(0, 1, 41)
    for base, crop in ((128, 128), (256, 256), (256, 576), (576, 576)):
        even = [break_even(Ask(base=base, crop=crop, zooms=z), prices) for z in shares]
        axes.plot(shares, even, label=f"{base} + {crop} tokens")
    axes.set(
        xlabel="share of questions that zoom", ylabel="base tokens",
        title="plain costs the same with this base budget",
    )  # fmt: skip
    axes.legend(fontsize=8)


def _over_questions(axes: Axes, prices: Prices) -> None:
    questions = list(range(1, 17))
    asks = {
        "zoom 256 + 256": ZOOM,
        "plain 1024": Ask(base=1024),
        "plain 2304": Ask(base=2304),
    }
    for colour, (name, ask) in enumerate(asks.items()):
        for by_picture, style in ((True, "-"), (False, ":")):
            needed = [replicas_for(LOAD, ask, prices, k, by_picture) for k in questions]
            routed = "by picture" if by_picture else "at random"
            axes.plot(questions, needed, f"C{colour}{style}", label=f"{name}, {routed}")
    axes.set(
        xlabel="questions about each picture", ylabel="replicas",
        title=f"{LOAD:,.0f} requests a second, 70 % busy", ylim=(0, None),
    )  # fmt: skip
    axes.legend(fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.72))


def _over_load(axes: Axes, prices: Prices, requests: int) -> None:
    ask, replicas, questions = replace(ZOOM, zooms=0.7), 8, 8
    most = replicas / seconds(ask, prices, known_share(questions, replicas, by_picture=True))
    loads = np.linspace(0.2, 0.95, 11) * most
    for routing in _ROUTINGS:
        tail = [
            1e3
            * simulate(
                Plan(ask, prices, load, replicas, questions, routing, gap=0.5), requests
            ).percentile(0.95)
            for load in loads
        ]
        axes.plot(loads, tail, marker=".", label=routing)
    axes.set(
        xlabel="requests a second", ylabel="95th percentile to the end, ms",
        yscale="log", ylim=(10, 3000),
        title=f"simulated: {replicas} replicas, {questions} questions a picture, 70 % zoom",
    )  # fmt: skip
    axes.legend(fontsize=8)
