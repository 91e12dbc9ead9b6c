"""Pass 1 of another question about a picture: the RPN's part of the picture kept, or made again."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch

from loadtests.compare.shapes import SHAPES, model_config, write_model
from loadtests.ideas.alternating import alternate
from loadtests.ideas.engines import Ask, engines, noise
from rpn_plugin.checkpoint import load_rpn
from rpn_plugin.config import RpnConfig
from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.packing import pack
from rpn_plugin.engine.rpn_batch import Network, PagedStates
from rpn_plugin.engine.rpn_memory import RpnMemory
from rpn_plugin.engine.rpn_runner import RpnRunner
from rpn_plugin.head import RegionProposalNetwork, row_size
from server.launch import SHIPPED_MODEL

_BLOCK = 32
_EACH = 4


def measure(rounds: int) -> None:
    """The RPN alone, then both models with small and large base views."""
    torch.set_num_threads(1)  # an engine's worker has one core
    shape = SHAPES["medium"]
    config = RpnConfig.for_model(
        model_config(shape), tap_layer=shape.tap_layer, depth=shape.rpn_depth
    )
    for side in (8, 24):
        _rpn_alone("shipped RPN", load_rpn(SHIPPED_MODEL / "rpn"), side, rounds)
    _rpn_alone("medium, random", RegionProposalNetwork(config), 24, rounds)
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


def _rpn_alone(title: str, rpn: RegionProposalNetwork, side: int, rounds: int) -> None:
    """One job at a time, of a prompt whose picture the RPN knows or does not; no engine."""
    rpn = rpn.float().eval().requires_grad_(False)
    length = 20 + side * side + 25
    blocks = -(-length // _BLOCK)
    hidden = torch.randn(blocks * _BLOCK, rpn.config.hidden_size)
    rows = pack(hidden, torch.arange(len(hidden)).expand(3, -1))
    states = PagedStates(rows.view(-1, 1, _BLOCK, rows.shape[1]), _BLOCK)
    memory = RpnMemory(torch.empty(2 * blocks * _BLOCK, row_size(rpn.config)), _BLOCK)
    shared = (20 + side * side) // _BLOCK

    def job(question: int) -> RoiJob:
        hashes = [b"%d" % (n if n < shared else -question - 1) for n in range(length // _BLOCK)]
        return RoiJob("", tuple(range(blocks)), length, ImageSpan(20, side**2), tuple(hashes))

    known = RpnRunner(Network(rpn, memory), states, length)
    dense = RpnRunner(Network(rpn), states, length)
    known.run([job(0)])
    timed = alternate(
        {
            "made again": lambda n: [dense.run([job(n + 1)]) for _ in range(_EACH)],
            "kept": lambda n: [known.run([job(_EACH * n + k + 1)]) for k in range(_EACH)],
        },
        rounds,
    )
    print(f"\n{title} alone, {side * side} image tokens, {_EACH} questions about a known picture")
    timed.print("made again")
