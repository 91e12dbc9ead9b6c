"""The RPN for eight requests of one step: one after another, or in batches of so many tokens."""

from __future__ import annotations

from functools import partial

import torch

from loadtests.compare.shapes import SHAPES, model_config
from loadtests.ideas.alternating import alternate
from rpn_plugin.checkpoint import load_rpn
from rpn_plugin.config import RpnConfig
from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.packing import pack, row_size
from rpn_plugin.engine.rpn_batch import Network, PagedStates
from rpn_plugin.engine.rpn_runner import RpnRunner
from rpn_plugin.head import RegionProposalNetwork
from server.launch import SHIPPED_MODEL

_REQUESTS = 8
_BLOCK = 32
_BOUNDS = (256, 512, 1024, 2048, 8192)
"""Tokens of a batch; 8192 takes all requests together."""


def measure(rounds: int) -> None:
    """The shipped RPN on its small prompts, and the medium shape's on larger ones."""
    torch.set_num_threads(1)  # an engine's worker has one core
    _compare("shipped RPN", load_rpn(SHIPPED_MODEL / "rpn"), 8, rounds)
    shape = SHAPES["medium"]
    config = RpnConfig.for_model(
        model_config(shape), tap_layer=shape.tap_layer, depth=shape.rpn_depth
    )
    _compare("medium, random", RegionProposalNetwork(config), 24, max(3, rounds // 3))


def _compare(title: str, rpn: RegionProposalNetwork, side: int, rounds: int) -> None:
    rpn = rpn.float().eval().requires_grad_(False)
    length = side * side + 40
    blocks = -(-length // _BLOCK)
    hidden = torch.randn(_REQUESTS * blocks * _BLOCK, rpn.config.hidden_size)
    rows = pack(hidden, torch.arange(len(hidden)).expand(3, -1) % 64)
    paged = rows.view(-1, 1, _BLOCK, row_size(rpn.config.hidden_size, torch.float32))
    jobs = [
        RoiJob(str(n), tuple(range(n * blocks, (n + 1) * blocks)), length, ImageSpan(4, side**2))
        for n in range(_REQUESTS)
    ]
    states = PagedStates(paged, _BLOCK)

    def run(batch_tokens: int, _: int) -> None:
        RpnRunner(Network(rpn), states, batch_tokens).run(jobs)

    bounds = {"one after another": 1, **{f"at most {n} tokens": n for n in _BOUNDS}}
    timed = alternate({name: partial(run, bound) for name, bound in bounds.items()}, rounds)
    print(f"\n{title}, {_REQUESTS} prompts of {length} tokens")
    timed.print("one after another")
