"""The RPN against maps recorded from the reference implementation, and what training needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rpn_plugin.checkpoint import load_rpn
from rpn_plugin.config import RpnConfig
from rpn_plugin.head import RegionProposalNetwork

GOLDEN = Path(__file__).parents[1] / "data" / "golden_qwen25vl_tiny"
IMAGE_TOKEN = 503
CASES = ("c07", "c09", "c11")


@pytest.fixture(scope="module")
def rpn() -> RegionProposalNetwork:
    """The recorded network, read from a checkpoint with the published keys."""
    return load_rpn(GOLDEN / "checkpoint").eval()


def score(rpn: RegionProposalNetwork, case: dict[str, Tensor]) -> Tensor:
    query = torch.tensor([len(case["input_ids"]) - 1])
    with torch.inference_mode():
        logits: Tensor = rpn(case["hidden_after_K"][None], case["position_ids"][:, None], query)
    return logits[0, case["input_ids"] == IMAGE_TOKEN].reshape(case["pred_roi"].shape)


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_the_reference(rpn: RegionProposalNetwork, name: str) -> None:
    case = load_file(GOLDEN / f"{name}.safetensors")
    torch.testing.assert_close(score(rpn, case), case["pred_roi"], atol=1e-4, rtol=0)


def test_padded_batch_equals_single_sequences(rpn: RegionProposalNetwork) -> None:
    cases = [load_file(GOLDEN / f"{name}.safetensors") for name in CASES]
    lengths = [len(case["input_ids"]) for case in cases]
    hidden = torch.full((len(cases), max(lengths), rpn.config.hidden_size), 1e3)
    positions = torch.zeros(3, len(cases), max(lengths), dtype=torch.int64)
    for row, case in enumerate(cases):
        hidden[row, : lengths[row]] = case["hidden_after_K"]
        positions[:, row, : lengths[row]] = case["position_ids"]
    with torch.inference_mode():
        logits = rpn(hidden, positions, torch.tensor(lengths) - 1)
    for row, case in enumerate(cases):
        image = logits[row, : lengths[row]][case["input_ids"] == IMAGE_TOKEN]
        torch.testing.assert_close(
            image.reshape(case["pred_roi"].shape), case["pred_roi"], atol=1e-4, rtol=0
        )


def test_nothing_after_the_query_is_read(rpn: RegionProposalNetwork) -> None:
    case = load_file(GOLDEN / "c07.safetensors")
    hidden, positions = case["hidden_after_K"][None], case["position_ids"][:, None]
    query = 160
    changed = hidden.clone()
    changed[:, query + 1 :] += 1.0
    with torch.inference_mode():
        before = rpn(hidden, positions, torch.tensor([query]))[0, : query + 1]
        after = rpn(changed, positions, torch.tensor([query]))[0, : query + 1]
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def small_config(depth: int) -> RpnConfig:
    return RpnConfig(
        family="qwen2_5_vl", tap_layer=1, depth=depth, base_layers=2, hidden_size=64,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        rms_norm_eps=1e-6, rope_theta=1e4, mrope_section=(2, 3, 3), attention_bias=True,
    )  # fmt: skip


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_parameter_gets_a_gradient_under_bfloat16_autocast(depth: int) -> None:
    torch.manual_seed(0)
    rpn = RegionProposalNetwork(small_config(depth))
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
