"""Prompts with a common prefix, through a runner with a prefix cache: maps equal the dense ones."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.runner.ragged import gate_logits
from rpn_plugin.engine.runner.ragged_attention import dense_attention
from rpn_plugin.engine.runner.rpn_batch import Network, PagedStates, Stopwatch, launch
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.runner.rpn_runner import RpnRunner
from rpn_plugin.engine.tap_rows import pack
from rpn_plugin.engine.tap_rows import row_size as tap_row_size
from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork, cached_parts

BLOCK = 16
ROWS, COLS = 5, 7
PICTURE = 4 + ROWS * COLS
"""Tokens up to the picture's last; it ends inside a block."""


def config(depth: int) -> RpnConfig:
    return RpnConfig(
        family="qwen2_5_vl", tap_layer=1, depth=depth, base_layers=2, hidden_size=64,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        rms_norm_eps=1e-6, rope_theta=1e4, mrope_section=(2, 3, 3), attention_bias=True,
        gate_layers=2,
    )  # fmt: skip


class Bench:
    """A tap that grows with every prompt, and a runner over it."""

    def __init__(
        self, depth: int, cache_blocks: int, batch_tokens: int = 1000, caching: bool = True
    ) -> None:
        torch.manual_seed(depth)
        self.rpn = RegionProposalNetwork(config(depth)).eval()
        self._cache = torch.full((64, 1, BLOCK, tap_row_size(64, torch.float32)), torch.inf)
        self._blocks = itertools.count()
        self._gate = LearnedGate(config(depth)).eval()
        self.runner = RpnRunner(
            Network(
                self.rpn,
                _prefix_cache(cache_blocks, cached_parts(config(depth)), caching),
                dense_attention,
            ),
            PagedStates(self._cache, BLOCK),
            batch_tokens,
            Network(self._gate, _prefix_cache(cache_blocks, 4, caching), dense_attention),
        )
        self._dense: dict[str, Tensor] = {}
        self._gate_logits: dict[str, float] = {}

    def job(
        self, name: str, picture: int, question: int, length: int, gate: bool = False
    ) -> RoiJob:
        """A prompt of `length` tokens about a picture, its states in new blocks of the tap."""
        hidden = torch.cat((_noise(picture, PICTURE), _noise(1000 + question, length - PICTURE)))
        text = torch.arange(length)
        positions = text.expand(3, -1).clone()
        positions[1, 4:PICTURE] = 4 + torch.arange(ROWS).repeat_interleave(COLS)
        positions[2, 4:PICTURE] = 4 + torch.arange(COLS).repeat(ROWS)
        inputs = hidden[None], positions[:, None], torch.tensor([length - 1])
        with torch.inference_mode():
            self._dense[name] = self.rpn(*inputs)[0, 4:PICTURE].reshape(ROWS, COLS)
            self._gate_logits[name] = self._gate(*inputs).item()
        block_ids = [next(self._blocks) for _ in range(0, length, BLOCK)]
        rows = pack(hidden, positions)
        for n, block in enumerate(block_ids):
            part = rows[n * BLOCK : (n + 1) * BLOCK]
            self._cache[block, 0, : len(part)] = part
        ends = range(BLOCK, length + 1, BLOCK)
        hashes = [b"%d-%d-%d" % (picture, question if end > PICTURE else 0, end) for end in ends]
        span = ImageSpan(4, ROWS * COLS)
        return RoiJob(name, tuple(block_ids), length, span, tuple(hashes), gate)

    def cached_tokens(self, *jobs: RoiJob) -> dict[str, int]:
        """Runs the jobs in one step and checks every map; the cached tokens of each job."""
        results = self.runner.run(jobs)
        assert results.keys() == {job.request_id for job in jobs}
        with_gate = {job.request_id for job in jobs if job.gate}
        cached = {}
        for name, result in results.items():
            assert isinstance(result, RoiMap), result
            np.testing.assert_allclose(result.logits, self._dense[name], rtol=0, atol=1e-5)
            expected = (
                pytest.approx(self._gate_logits[name], abs=1e-5) if name in with_gate else None
            )
            assert result.gate_logit == expected
            cached[name] = result.cached_tokens
        return cached


def _prefix_cache(blocks: int, parts: int, caching: bool) -> RpnPrefixCache:
    return RpnPrefixCache(torch.full((parts, blocks, BLOCK, 2, 16), torch.nan), caching)


def _noise(seed: int, tokens: int) -> Tensor:
    return torch.randn(tokens, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_second_question_about_a_cached_picture(depth: int) -> None:
    bench = Bench(depth, cache_blocks=40)
    assert bench.cached_tokens(bench.job("first", 1, 1, 60)) == {"first": 0}
    # The picture ends inside the third block: two are shared.
    assert bench.cached_tokens(bench.job("second", 1, 2, 75)) == {"second": 32}
    assert bench.cached_tokens(bench.job("other picture", 2, 2, 75)) == {"other picture": 0}


def test_the_same_prompt_again_computes_its_last_token() -> None:
    bench = Bench(2, cache_blocks=40)
    bench.cached_tokens(bench.job("first", 1, 1, 64))
    assert bench.cached_tokens(bench.job("again", 1, 1, 64)) == {"again": 48}


def test_cached_and_new_prompts_in_one_step() -> None:
    bench = Bench(3, cache_blocks=40)
    bench.cached_tokens(bench.job("a", 1, 1, 60), bench.job("b", 2, 1, 80))
    cached = bench.cached_tokens(
        bench.job("a 2", 1, 2, 70),
        bench.job("b again", 2, 1, 80),
        bench.job("c", 3, 3, 90),
        bench.job("b 2", 2, 2, 45),
    )
    assert cached == {"a 2": 32, "b again": 64, "c": 0, "b 2": 32}


def test_questions_about_one_new_picture_in_one_step() -> None:
    """One of them computes the picture, for all."""
    bench = Bench(2, cache_blocks=40)
    cached = bench.cached_tokens(*(bench.job(f"q{n}", 1, n + 1, 50 + n) for n in range(5)))
    assert cached == {"q0": 0, **{f"q{n}": 32 for n in range(1, 5)}}


def test_more_pictures_than_fit_in_the_cache() -> None:
    bench = Bench(2, cache_blocks=4)
    for turn in range(2):
        for picture in range(4):
            bench.cached_tokens(bench.job(f"{turn} {picture}", picture, turn + 1, 60 + picture))
    assert bench.cached_tokens(bench.job("last once more", 3, 9, 50)) == {"last once more": 32}
    assert bench.cached_tokens(bench.job("first once more", 0, 9, 50)) == {"first once more": 0}


def test_many_in_one_step_with_a_tiny_cache() -> None:
    bench = Bench(2, cache_blocks=1)
    assert (
        len(bench.cached_tokens(*(bench.job(f"q{n}", n % 2, n + 1, 50 + n) for n in range(6)))) == 6
    )


def test_small_batches() -> None:
    bench = Bench(2, cache_blocks=40, batch_tokens=64)
    bench.cached_tokens(*(bench.job(f"first {n}", n, 1, 50 + n) for n in range(4)))
    cached = bench.cached_tokens(*(bench.job(f"then {n}", n, 2, 70 - n) for n in range(4)))
    assert set(cached.values()) == {32}


def test_nothing_is_cached_after_clear() -> None:
    bench = Bench(2, cache_blocks=40)
    bench.cached_tokens(bench.job("first", 1, 1, 60))
    bench.runner.clear()
    assert bench.cached_tokens(bench.job("second", 1, 2, 60)) == {"second": 0}


def test_a_job_that_fails_is_not_cached() -> None:
    bench = Bench(2, cache_blocks=40)
    good = bench.job("good", 1, 1, 60)
    bad = RoiJob("bad", (9999,) * 4, 60, good.image, good.block_hashes)
    results = bench.runner.run([bad])
    assert isinstance(results["bad"], RoiError)
    assert bench.cached_tokens(good) == {"good": 0}


def test_a_batch_that_fails_late_clears_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2, cache_blocks=40)

    def fail(_: object) -> float:
        raise RuntimeError("device lost")

    with monkeypatch.context() as patch:
        patch.setattr(Stopwatch, "seconds", fail)
        assert isinstance(bench.runner.run([bench.job("lost", 1, 1, 60)])["lost"], RoiError)
    assert bench.cached_tokens(bench.job("second", 1, 1, 60)) == {"second": 0}


def test_a_batch_out_of_memory_is_retried_in_halves_after_its_memory_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(2, cache_blocks=40)
    held: list[weakref.ref[Tensor]] = []
    sizes: list[int] = []

    def with_little_memory(*args: Any) -> object:
        jobs = args[3]
        assert all(tensor() is None for tensor in held)
        intermediate = torch.zeros(3)
        held.append(weakref.ref(intermediate))
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("no room")
        return launch(*args)

    monkeypatch.setattr("rpn_plugin.engine.runner.rpn_runner.launch", with_little_memory)
    bench.cached_tokens(*(bench.job(f"q{n}", n, 1, 50 + n) for n in range(5)))
    assert sizes == [5, 2, 3, 1, 2]


def test_the_gate_caches_the_prompts_of_gate_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2, cache_blocks=40)
    computed: list[int] = []

    def counting(gate: LearnedGate, hidden: Tensor, *others: Any) -> Tensor:
        computed.append(len(hidden))
        return gate_logits(gate, hidden, *others)

    monkeypatch.setattr("rpn_plugin.engine.runner.rpn_batch.gate_logits", counting)
    bench.cached_tokens(bench.job("no gate", 1, 1, 60))
    bench.cached_tokens(bench.job("gate", 1, 2, 62, gate=True))
    bench.cached_tokens(bench.job("gate again", 1, 3, 75, gate=True), bench.job("not", 1, 4, 70))
    assert computed == [62, 75 - 32]


def test_a_prompt_longer_than_the_cache_and_the_gate_with_few_pages() -> None:
    bench = Bench(3, cache_blocks=5, batch_tokens=32)
    jobs = [bench.job(f"q{n}", n, 1, 60 + 9 * n, gate=bool(n % 2)) for n in range(5)]
    assert set(bench.cached_tokens(*jobs).values()) == {0}


@pytest.mark.parametrize("slice_tokens", [1, 7, 64])
def test_prompts_cut_into_slices_anywhere(slice_tokens: int) -> None:
    bench = Bench(3, cache_blocks=40, batch_tokens=slice_tokens)
    bench.cached_tokens(bench.job("a", 1, 1, 60, gate=True), bench.job("b", 2, 1, 45))
    cached = bench.cached_tokens(bench.job("a 2", 1, 2, 50), bench.job("c", 3, 1, 55, gate=True))
    assert cached == {"a 2": 32, "c": 0}


def test_without_caching_every_map_is_computed_whole() -> None:
    bench = Bench(2, cache_blocks=40, caching=False)
    for turn in range(12):
        job = bench.job(f"turn {turn}", 1, 1, 60)
        assert bench.cached_tokens(job) == {f"turn {turn}": 0}


def test_the_gate_has_cached_some_prompts_of_a_batch() -> None:
    bench = Bench(2, cache_blocks=40)
    bench.cached_tokens(*(bench.job(f"first {n}", n, 1, 60 + n, gate=n == 1) for n in range(3)))
    cached = bench.cached_tokens(
        *(bench.job(f"then {n}", n, 2, 70 - n, gate=True) for n in range(3))
    )
    assert set(cached.values()) == {32}


def test_the_gate_is_cleared_too() -> None:
    bench = Bench(2, cache_blocks=40)
    bench.cached_tokens(bench.job("first", 1, 1, 60, gate=True))
    bench.runner.clear()
    assert bench.cached_tokens(bench.job("second", 1, 2, 60, gate=True)) == {"second": 0}
