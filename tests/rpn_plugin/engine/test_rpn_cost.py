"""What a step costs a GPU, counted on torch's `meta` device: launches, copies, memory.

The shape is Qwen2.5-VL-7B's. Attention is a stand-in that notes its calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.runner.ragged_attention import Sequences
from rpn_plugin.engine.runner.rpn_batch import Network, PagedStates
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.runner.rpn_runner import RpnRunner
from rpn_plugin.engine.tap_rows import row_size
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork, cached_parts

SLICE, BLOCK, QUESTION = 8192, 16, 40
CONFIG = RpnConfig(
    family="qwen2_5_vl", tap_layer=18, depth=3, base_layers=28, hidden_size=3584,
    num_attention_heads=28, num_key_value_heads=4, head_dim=128, intermediate_size=18944,
    rms_norm_eps=1e-6, rope_theta=1e6, mrope_section=(16, 24, 24), attention_bias=True,
)  # fmt: skip
MLP_SLICES = SLICE // 2048


@dataclass
class Counts:
    """What a step did."""

    launches: int = 0
    uploads: int = 0
    downloads: int = 0
    largest: int = 0
    attention: list[tuple[int, int]] = field(default_factory=list)
    masked_groups: int = 0


class Counter(TorchDispatchMode):
    """Counts operations on the device, copies, and the largest new tensor in bytes."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = str(func)
        inputs = [x for x in args if isinstance(x, Tensor)]
        outputs = [
            x for x in (result if isinstance(result, tuple) else [result]) if isinstance(x, Tensor)
        ]
        onto = any(x.is_meta for x in outputs)
        from_device = any(x.is_meta for x in inputs)
        self._counts.uploads += onto and bool(inputs) and not from_device
        self._counts.downloads += from_device and bool(outputs) and not onto
        self._counts.downloads += "_local_scalar_dense" in name and from_device
        self._counts.masked_groups += "scaled_dot_product" in name
        in_place = name.split(".")[1].endswith("_")
        given = {x.untyped_storage()._cdata for x in inputs}
        made = [x for x in outputs if x.untyped_storage()._cdata not in given]
        self._counts.launches += onto and (in_place or bool(made))
        self._counts.largest = max([self._counts.largest, *(x.nbytes for x in made if x.is_meta)])
        return result


class Bench:
    """A runner on the meta device."""

    def __init__(self) -> None:
        self.counts = Counts()
        device = torch.device("meta")
        with device:
            rpn = RegionProposalNetwork(CONFIG).bfloat16().requires_grad_(False)
        rows = row_size(CONFIG.hidden_size, torch.bfloat16)
        tap = torch.empty(60000, 1, BLOCK, rows, dtype=torch.bfloat16, device=device)
        shape = (cached_parts(CONFIG), 9000, BLOCK, 4, 128)
        cache = RpnPrefixCache(torch.empty(shape, dtype=torch.bfloat16, device=device))
        self.runner = RpnRunner(Network(rpn, cache, self._attend), PagedStates(tap, BLOCK), SLICE)

    def step(self, jobs: Sequence[RoiJob]) -> Counts:
        """Counts of one step, in which the results are not read."""
        self.counts = Counts()
        with self._counting():
            pending = self.runner.launch(jobs)
        assert not pending.failed
        assert sum(len(batch.tasks) for batch in pending.batches) == len(jobs)
        return self.counts

    @contextmanager
    def _counting(self) -> Iterator[None]:
        with Counter(self.counts):
            yield

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor, of: Sequences) -> Tensor:
        assert keys.shape[1:] == values.shape[1:] == (BLOCK, 4, 128)
        assert len(query) == sum(of.queries)
        self.counts.attention.append((len(query), max(of.keys)))
        return torch.empty_like(query)


def job(name: str, tokens: int, shared: int = 0, picture: str = "") -> RoiJob:
    """A prompt behind `shared` blocks of a system prompt; `picture` makes all but the question the
    same as others'.
    """
    same = (tokens - QUESTION) // BLOCK if picture else 0
    hashes = tuple(
        f"{'system' if n < shared else picture if n < same else name} {n}".encode()
        for n in range(tokens // BLOCK)
    )
    blocks = tuple(range(1, tokens // BLOCK + 2))
    return RoiJob(name, blocks, tokens, ImageSpan(20, tokens - 20 - QUESTION + 10), hashes)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.step([job("first", 60)])  # constants are copied to the device once
    return bench


def check(counts: Counts, new_tokens: int) -> None:
    """The bounds of a step that computes so many tokens."""
    assert counts.uploads == 1
    assert counts.downloads == 0
    assert counts.masked_groups == 0
    hidden = CONFIG.hidden_size * torch.bfloat16.itemsize
    assert counts.largest <= 6 * min(new_tokens, SLICE) * hidden


def launches_for(tokens: int) -> int:
    """Launches that the slices of so many tokens may take, the MLP's pieces among them."""
    slices = -(-tokens // SLICE)
    return 60 + slices * (120 + 2 * 6 * MLP_SLICES)


@pytest.mark.parametrize("prompts", [1, 13, 64])
def test_new_prompts(bench: Bench, prompts: int) -> None:
    tokens = 606 * prompts
    counts = bench.step([job(f"new {n}", 606) for n in range(prompts)])
    check(counts, tokens)
    assert counts.launches <= launches_for(tokens)
    assert len(counts.attention) == 2 * -(-tokens // SLICE)


def test_launches_do_not_grow_with_the_number_of_prompts(bench: Bench) -> None:
    one = bench.step([job("one", 2000)])
    many = bench.step([job(f"many {n}", 100) for n in range(20)])
    assert many.launches == one.launches


@pytest.mark.parametrize("shared", [0, 3])
def test_64_follow_ups(bench: Bench, shared: int) -> None:
    pictures = [f"picture {n}" for n in range(64)]
    bench.step([job(f"first {p}", 616, shared, p) for p in pictures])
    counts = bench.step([job(f"then {p}", 616, shared, p) for p in pictures])
    new = 64 * (616 - 576)
    # The scores read the cached keys of all pictures.
    check(counts, 2 * new)
    assert counts.launches <= launches_for(new)
    assert {tokens for tokens, _ in counts.attention} == {new}


def test_one_long_prompt(bench: Bench) -> None:
    counts = bench.step([job("long", 16384)])
    check(counts, SLICE)
    assert counts.launches <= launches_for(16384)
    assert counts.attention == [(SLICE, SLICE)] * 2 + [(SLICE, 16384)] * 2


def test_a_batch_behind_a_system_prompt(bench: Bench) -> None:
    bench.step([job("earlier", 606, shared=4)])
    counts = bench.step([job(f"next {n}", 606, shared=4) for n in range(13)])
    new = 13 * (606 - 64)
    check(counts, new)
    assert {tokens for tokens, _ in counts.attention} == {new}
