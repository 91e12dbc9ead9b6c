"""The loss and its gradients equal the recorded ones of the released code, within 1e-4.

The recorded hidden states before the RPN are computed from the recorded pixels by transformers,
which agrees with the released model's trunk to 7e-6 where both were recorded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rpn_plugin.distill.train.loss import label_loss
from rpn_plugin.network.checkpoint import load_rpn
from rpn_plugin.network.rpn import RegionProposalNetwork

DATA = Path(__file__).parents[2] / "data"
CHECKPOINT = DATA / "golden" / "qwen25vl_tiny" / "checkpoint"
GOLDEN = DATA / "golden" / "train_loss"
CASES = {c["name"]: c for c in json.loads((GOLDEN / "cases.json").read_text())["cases"]}
RECORDED = [name for name in CASES if (GOLDEN / f"{name}.safetensors").exists()]
IMAGE_TOKEN = 503


def learn(name: str) -> tuple[RegionProposalNetwork, dict[str, Tensor], Tensor, int]:
    """The RPN with its gradients after one recorded case, the case, its loss and its cells."""
    case = load_file(GOLDEN / f"{name}.safetensors")
    rpn = load_rpn(CHECKPOINT)
    answered = (case["labels"][0] != -100).nonzero()[0]
    scores = rpn(case["hidden_after_K"], case["position_ids"], answered - 1)
    _, rows, cols = CASES[name]["grid"][0]
    logits = scores[0, case["input_ids"][0] == IMAGE_TOKEN].reshape(rows // 2, cols // 2)
    total, cells = label_loss([logits], [case["roi_target_map_0"]])
    (total / max(cells, 1)).backward()
    return rpn, case, total / max(cells, 1), cells


@pytest.mark.parametrize("name", RECORDED)
def test_loss_and_gradients_equal_the_recorded_ones(name: str) -> None:
    rpn, case, loss, cells = learn(name)
    assert cells == CASES[name]["n_valid"]
    assert abs(loss.item() - CASES[name]["loss"]) < 1e-4
    gradients = {f"model.twig_{n}": p.grad for n, p in rpn.named_parameters()}
    recorded = {n.removeprefix("grad."): g for n, g in case.items() if n.startswith("grad.")}
    assert recorded.keys() <= gradients.keys()
    for parameter, gradient in recorded.items():
        torch.testing.assert_close(gradients[parameter], gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", RECORDED)
def test_what_the_released_code_trains_is_what_we_train(name: str) -> None:
    """The released last layer is whole, but most of it gets no gradient: we do not have it."""
    rpn, *_ = learn(name)
    norms = CASES[name]["grad_norms"]
    trained = {n for n, norm in norms.items() if norm is not None}
    ours = {f"model.twig_{n}": p for n, p in rpn.named_parameters()}
    assert trained <= ours.keys()
    for parameter in trained:
        gradient = ours[parameter].grad
        assert gradient is not None
        assert gradient.norm().item() == pytest.approx(norms[parameter], rel=1e-3, abs=1e-4)


def test_recorded_cases_have_a_resized_map_and_one_without_labels() -> None:
    assert {"bs1_same_grid", "bs1_resampled", "bs1_all_ignore"} <= set(RECORDED)
