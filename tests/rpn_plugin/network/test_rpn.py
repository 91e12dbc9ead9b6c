"""The RPN against maps recorded from the reference implementation, and what training needs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rpn_plugin.network.checkpoint import load_rpn
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork
from tests.golden import LLAVA_CASES, QWEN_CASES, TOLERANCE, Case

CASES = [*QWEN_CASES, *LLAVA_CASES]
SMALL_CASES = [case for case in QWEN_CASES if case.folder.name in ("c07", "c09", "c11")]


@cache
def recorded(checkpoint: Path) -> RegionProposalNetwork:
    """The recorded network, read from a checkpoint in the released format."""
    return load_rpn(checkpoint).eval()


@pytest.fixture(scope="module")
def rpn() -> RegionProposalNetwork:
    return recorded(QWEN_CASES[0].checkpoint)


def positions_of(case: Case) -> Tensor:
    """Int [3, seq]; a token of LLaVA's has its place in the sequence."""
    if "position_ids" in case.tensors:
        return case.tensors["position_ids"]
    return torch.arange(len(case.tensors["hidden_after_K"])).expand(3, -1)


def image_part(case: Case, logits: Tensor) -> Tensor:
    """The picture's logits [rows, cols] out of those of a sequence [seq]."""
    grid = case.tensors["pred_roi"].shape
    return logits[case.image_start : case.image_start + grid.numel()].reshape(grid)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)
def test_logits_mask_and_boxes_equal_the_reference(case: Case) -> None:
    hidden = case.tensors["hidden_after_K"][None]
    with torch.inference_mode():
        logits = recorded(case.checkpoint)(
            hidden, positions_of(case)[:, None], torch.tensor([hidden.shape[1] - 1])
        )[0]
    case.check_map(image_part(case, logits).numpy())


def test_padded_batch_equals_single_sequences(rpn: RegionProposalNetwork) -> None:
    lengths = [len(case.tensors["hidden_after_K"]) for case in SMALL_CASES]
    hidden = torch.full((len(lengths), max(lengths), rpn.config.hidden_size), 1e3)
    positions = torch.zeros(3, len(lengths), max(lengths), dtype=torch.int64)
    for row, case in enumerate(SMALL_CASES):
        hidden[row, : lengths[row]] = case.tensors["hidden_after_K"]
        positions[:, row, : lengths[row]] = positions_of(case)
    with torch.inference_mode():
        logits = rpn(hidden, positions, torch.tensor(lengths) - 1)
    for row, case in enumerate(SMALL_CASES):
        torch.testing.assert_close(
            image_part(case, logits[row]), case.tensors["pred_roi"], atol=TOLERANCE, rtol=0
        )


def test_nothing_after_the_query_is_read(rpn: RegionProposalNetwork) -> None:
    case = SMALL_CASES[0]
    hidden, positions = case.tensors["hidden_after_K"][None], positions_of(case)[:, None]
    query = 160
    changed = hidden.clone()
    changed[:, query + 1 :] += 1.0
    with torch.inference_mode():
        before = rpn(hidden, positions, torch.tensor([query]))[0, : query + 1]
        after = rpn(changed, positions, torch.tensor([query]))[0, : query + 1]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


FAMILY_SHAPES: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"mrope_section": (2, 3, 3), "attention_bias": True},
    "qwen3_vl": {"mrope_section": (4, 2, 2), "attention_bias": False},
    "llava": {"mrope_section": (8, 0, 0), "attention_bias": False},
    "deepseek_vl": {"mrope_section": (8, 0, 0), "attention_bias": False},
}


def small_config(depth: int, family: str = "qwen2_5_vl") -> RpnConfig:
    return RpnConfig(
        family=family, tap_layer=1, depth=depth, base_layers=2, hidden_size=64,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        rms_norm_eps=1e-6, rope_theta=1e4, **FAMILY_SHAPES[family],
    )  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILY_SHAPES)
def test_every_parameter_gets_a_gradient_under_bfloat16_autocast(depth: int, family: str) -> None:
    torch.manual_seed(0)
    rpn = RegionProposalNetwork(small_config(depth, family))
    positions = torch.arange(12).expand(3, 2, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = rpn(torch.randn(2, 12, 64), positions, torch.tensor([11, 7]))
    assert logits.dtype == torch.float32
    logits[:, :8].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in rpn.parameters())


def test_bfloat16_weights_follow_float32() -> None:
    torch.manual_seed(0)
    rpn = RegionProposalNetwork(small_config(3)).eval()
    hidden, positions = torch.randn(1, 40, 64), torch.arange(40).expand(3, 1, 40)
    with torch.inference_mode():
        exact = rpn(hidden, positions, torch.tensor([39]))
        rounded = rpn.bfloat16()(hidden.bfloat16(), positions, torch.tensor([39]))
    assert rounded.dtype == torch.float32
    correlation = torch.corrcoef(torch.cat([exact, rounded]))[0, 1]
    assert correlation > 0.995
