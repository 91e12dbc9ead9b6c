"""Batches from paged states: what the engine's cache holds, without an engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.runner.ragged_attention import dense_attention
from rpn_plugin.engine.runner.rpn_batch import Network, PagedStates
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.runner.rpn_runner import RpnRunner
from rpn_plugin.engine.tap_rows import pack, row_size, unpack
from rpn_plugin.messages import RoiError, RoiMap
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork, cached_parts
from tests.rpn_plugin.engine.logs import captured

CONFIG = RpnConfig(
    family="qwen2_5_vl", tap_layer=1, depth=2, base_layers=2, hidden_size=64,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
    rms_norm_eps=1e-6, rope_theta=1e4, mrope_section=(2, 3, 3), attention_bias=True,
)  # fmt: skip
BLOCK_TOKENS = 16


@pytest.fixture(scope="module")
def rpn() -> RegionProposalNetwork:
    torch.manual_seed(0)
    return RegionProposalNetwork(CONFIG).eval()


def prompt(length: int, rows: int, cols: int, seed: int) -> tuple[Tensor, Tensor]:
    """States and positions of three text tokens, a picture, and text."""
    hidden = torch.randn(length, CONFIG.hidden_size, generator=torch.Generator().manual_seed(seed))
    cells = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij"))
    picture = torch.cat((torch.zeros(1, rows * cols), cells.flatten(1))) + 3
    text = torch.arange(length - 3 - rows * cols) + 3 + max(rows, cols)
    axes = (torch.arange(3).expand(3, 3), picture, text.expand(3, -1))
    return hidden, torch.cat(axes, dim=1).long()


def _network(rpn: RegionProposalNetwork) -> Network[RegionProposalNetwork]:
    pages = torch.full((cached_parts(CONFIG), 16, BLOCK_TOKENS, 2, 16), torch.nan)
    return Network(rpn, RpnPrefixCache(pages), dense_attention)


def job(name: str, block_ids: tuple[int, ...], length: int, image_tokens: int) -> RoiJob:
    return RoiJob(name, block_ids, length, ImageSpan(3, image_tokens))


def test_row_keeps_state_and_positions_bit_by_bit() -> None:
    positions = torch.tensor([[0, 7, 2**31 - 1], [1, 2, 3], [32768, 0, 5]])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        hidden = torch.randn(3, 64).to(dtype)
        rows = pack(hidden, positions)
        assert rows.shape == (3, row_size(64, dtype))
        again, axes = unpack(rows, 64)
        assert torch.equal(again, hidden)
        assert torch.equal(axes.long(), positions)


@pytest.mark.parametrize("device_block", [16, 4])
def test_ragged_batch_of_scattered_blocks(rpn: RegionProposalNetwork, device_block: int) -> None:
    """Whatever else lies in the cache, infinities included, and however small its blocks are."""
    size = row_size(CONFIG.hidden_size, torch.float32)
    slots = torch.full((12 * BLOCK_TOKENS, size), torch.inf)
    shapes = {"a": (20, 3, 4), "b": (50, 5, 7), "c": (16, 2, 2)}
    blocks = {"a": (7, 2), "b": (11, 0, 5, 3), "c": (9,)}
    jobs, alone = [], {}
    for seed, (name, (length, rows, cols)) in enumerate(shapes.items()):
        hidden, positions = prompt(length, rows, cols, seed)
        token = torch.arange(length)
        block = torch.tensor(blocks[name])[token // BLOCK_TOKENS]
        slots[block * BLOCK_TOKENS + token % BLOCK_TOKENS] = pack(hidden, positions)
        jobs.append(job(name, blocks[name], length, rows * cols))
        with torch.inference_mode():
            logits = rpn(hidden[None], positions[:, None], torch.tensor([length - 1]))[0]
        alone[name] = logits[3 : 3 + rows * cols].reshape(rows, cols).numpy()

    rows_view = slots.view(-1, 1, device_block, size)
    runner = RpnRunner(_network(rpn), PagedStates(rows_view, BLOCK_TOKENS), slice_tokens=1000)
    results = runner.run(jobs)
    assert results.keys() == alone.keys()
    for name, result in results.items():
        assert isinstance(result, RoiMap)
        assert result.batch_size == 3
        np.testing.assert_allclose(result.logits, alone[name], rtol=0, atol=1e-5)


def test_one_bad_job_does_not_spoil_its_batch(rpn: RegionProposalNetwork) -> None:
    size = row_size(CONFIG.hidden_size, torch.float32)
    hidden, positions = prompt(16, 2, 2, seed=0)
    rows = pack(hidden, positions).view(1, 1, BLOCK_TOKENS, size)
    runner = RpnRunner(_network(rpn), PagedStates(rows, BLOCK_TOKENS), slice_tokens=1000)
    results = runner.run([job("beyond the cache", (99,), 17, 4), job("good", (0,), 16, 4)])
    assert isinstance(results["good"], RoiMap)
    assert isinstance(results["beyond the cache"], RoiError)


def test_tokens_that_fill_no_grid(rpn: RegionProposalNetwork) -> None:
    size = row_size(CONFIG.hidden_size, torch.float32)
    rows = pack(*prompt(16, 2, 3, seed=0)).view(1, 1, BLOCK_TOKENS, size)
    runner = RpnRunner(_network(rpn), PagedStates(rows, BLOCK_TOKENS), slice_tokens=16)
    result = runner.run([job("five of six", (0,), 16, 5)])["five of six"]
    assert isinstance(result, RoiError)
    assert "5 image tokens do not fill" in str(result)


def test_a_picture_beyond_the_prompt_does_not_spoil_its_batch(rpn: RegionProposalNetwork) -> None:
    size = row_size(CONFIG.hidden_size, torch.float32)
    rows = pack(*prompt(16, 2, 3, seed=0)).view(1, 1, BLOCK_TOKENS, size)
    runner = RpnRunner(_network(rpn), PagedStates(rows, BLOCK_TOKENS), slice_tokens=1000)
    results = runner.run([job("beyond", (0,), 16, 99), job("good", (0,), 16, 6)])
    assert isinstance(results["good"], RoiMap)
    assert isinstance(results["beyond"], RoiError)


def test_a_failure_while_reading_back_is_reported(
    rpn: RegionProposalNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a GPU, work that was queued fails only when it is waited for."""

    def fail(_: object) -> float:
        raise RuntimeError("device lost")

    monkeypatch.setattr("rpn_plugin.engine.runner.rpn_batch.Stopwatch.seconds", fail)
    size = row_size(CONFIG.hidden_size, torch.float32)
    rows = pack(*prompt(16, 2, 3, seed=0)).view(1, 1, BLOCK_TOKENS, size)
    runner = RpnRunner(_network(rpn), PagedStates(rows, BLOCK_TOKENS), slice_tokens=1000)
    with captured(caplog):
        result = runner.run([job("lost", (0,), 16, 6)])["lost"]
    assert isinstance(result, RoiError)
    assert str(result) == "the RPN failed"
    assert "device lost" in caplog.text
    assert "Traceback" in caplog.text
