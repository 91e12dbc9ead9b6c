"""Prompts that begin alike, through a runner that remembers: the maps are the dense ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from rpn_plugin.config import RpnConfig
from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.packing import pack, row_size
from rpn_plugin.engine.rpn_batch import PagedStates
from rpn_plugin.engine.rpn_memory import RpnMemory
from rpn_plugin.engine.rpn_runner import RpnRunner
from rpn_plugin.head import RegionProposalNetwork
from rpn_plugin.head import row_size as memory_row_size
from rpn_plugin.messages import RoiError, RoiMap

BLOCK = 16
ROWS, COLS = 5, 7
PICTURE = 4 + ROWS * COLS
"""Tokens up to the picture's last; it ends inside a block."""


def config(depth: int) -> RpnConfig:
    return RpnConfig(
        family="qwen2_5_vl", tap_layer=1, depth=depth, base_layers=2, hidden_size=64,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        rms_norm_eps=1e-6, rope_theta=1e4, mrope_section=(2, 3, 3), attention_bias=True,
    )  # fmt: skip


class Bench:
    """A tap that grows with every prompt, and a runner over it."""

    def __init__(self, depth: int, known_blocks: int, batch_tokens: int = 1000) -> None:
        torch.manual_seed(depth)
        self.rpn = RegionProposalNetwork(config(depth)).eval()
        self._cache = torch.full((64, 1, BLOCK, row_size(64, torch.float32)), torch.inf)
        self._blocks = itertools.count()
        room = torch.full((known_blocks * BLOCK, memory_row_size(config(depth))), torch.nan)
        self.runner = RpnRunner(
            self.rpn, PagedStates(self._cache, BLOCK), batch_tokens, RpnMemory(room, BLOCK)
        )
        self._dense: dict[str, Tensor] = {}

    def job(self, name: str, picture: int, question: int, length: int) -> RoiJob:
        """A prompt of `length` tokens about a picture, its states in new blocks of the tap."""
        hidden = torch.cat((_noise(picture, PICTURE), _noise(1000 + question, length - PICTURE)))
        text = torch.arange(length)
        positions = text.expand(3, -1).clone()
        positions[1, 4:PICTURE] = 4 + torch.arange(ROWS).repeat_interleave(COLS)
        positions[2, 4:PICTURE] = 4 + torch.arange(COLS).repeat(ROWS)
        with torch.inference_mode():
            logits = self.rpn(hidden[None], positions[:, None], torch.tensor([length - 1]))[0]
        self._dense[name] = logits[4:PICTURE].reshape(ROWS, COLS)
        block_ids = [next(self._blocks) for _ in range(0, length, BLOCK)]
        rows = pack(hidden, positions)
        for n, block in enumerate(block_ids):
            part = rows[n * BLOCK : (n + 1) * BLOCK]
            self._cache[block, 0, : len(part)] = part
        ends = range(BLOCK, length + 1, BLOCK)
        hashes = [b"%d-%d-%d" % (picture, question if end > PICTURE else 0, end) for end in ends]
        return RoiJob(name, tuple(block_ids), length, ImageSpan(4, ROWS * COLS), tuple(hashes))

    def known(self, *jobs: RoiJob) -> dict[str, int]:
        """Runs the jobs in one step, checks every map, and tells what was not computed again."""
        results = self.runner.run(jobs)
        assert results.keys() == {job.request_id for job in jobs}
        known = {}
        for name, result in results.items():
            assert isinstance(result, RoiMap), result
            np.testing.assert_allclose(result.logits, self._dense[name], rtol=0, atol=1e-5)
            known[name] = result.known_tokens
        return known


def _noise(seed: int, tokens: int) -> Tensor:
    return torch.randn(tokens, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_another_question_about_a_known_picture(depth: int) -> None:
    bench = Bench(depth, known_blocks=40)
    assert bench.known(bench.job("first", 1, 1, 60)) == {"first": 0}
    # The picture ends inside the third block: two are shared.
    assert bench.known(bench.job("second", 1, 2, 75)) == {"second": 32}
    assert bench.known(bench.job("other picture", 2, 2, 75)) == {"other picture": 0}


def test_the_same_prompt_again_computes_its_last_token() -> None:
    bench = Bench(2, known_blocks=40)
    bench.known(bench.job("first", 1, 1, 64))
    assert bench.known(bench.job("again", 1, 1, 64)) == {"again": 48}


def test_known_and_new_prompts_in_one_step() -> None:
    bench = Bench(3, known_blocks=40)
    bench.known(bench.job("a", 1, 1, 60), bench.job("b", 2, 1, 80))
    known = bench.known(
        bench.job("a 2", 1, 2, 70),
        bench.job("b again", 2, 1, 80),
        bench.job("c", 3, 3, 90),
        bench.job("b 2", 2, 2, 45),
    )
    assert known == {"a 2": 32, "b again": 64, "c": 0, "b 2": 32}


def test_questions_about_one_new_picture_in_one_step() -> None:
    """One of them computes the picture, for all."""
    bench = Bench(2, known_blocks=40)
    known = bench.known(*(bench.job(f"q{n}", 1, n + 1, 50 + n) for n in range(5)))
    assert known == {"q0": 0, **{f"q{n}": 32 for n in range(1, 5)}}


def test_more_pictures_than_are_remembered() -> None:
    bench = Bench(2, known_blocks=4)
    for turn in range(2):
        for picture in range(4):
            bench.known(bench.job(f"{turn} {picture}", picture, turn + 1, 60 + picture))
    assert bench.known(bench.job("last once more", 3, 9, 50)) == {"last once more": 32}
    assert bench.known(bench.job("first once more", 0, 9, 50)) == {"first once more": 0}


def test_many_in_one_step_with_hardly_any_memory() -> None:
    bench = Bench(2, known_blocks=1)
    assert len(bench.known(*(bench.job(f"q{n}", n % 2, n + 1, 50 + n) for n in range(6)))) == 6


def test_small_batches() -> None:
    bench = Bench(2, known_blocks=40, batch_tokens=64)
    bench.known(*(bench.job(f"first {n}", n, 1, 50 + n) for n in range(4)))
    known = bench.known(*(bench.job(f"then {n}", n, 2, 70 - n) for n in range(4)))
    assert set(known.values()) == {32}


def test_nothing_is_known_after_forgetting() -> None:
    bench = Bench(2, known_blocks=40)
    bench.known(bench.job("first", 1, 1, 60))
    bench.runner.forget()
    assert bench.known(bench.job("second", 1, 2, 60)) == {"second": 0}


def test_a_job_that_fails_is_not_remembered() -> None:
    bench = Bench(2, known_blocks=40)
    good = bench.job("good", 1, 1, 60)
    bad = RoiJob("bad", (9999,) * 4, 60, good.image, good.block_hashes)
    results = bench.runner.run([bad])
    assert isinstance(results["bad"], RoiError)
    assert bench.known(good) == {"good": 0}


def test_a_memory_that_fails_costs_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2, known_blocks=40)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(RpnMemory, "store", fail)
        assert bench.known(bench.job("first", 1, 1, 60)) == {"first": 0}
    assert bench.known(bench.job("second", 1, 1, 60)) == {"second": 0}
