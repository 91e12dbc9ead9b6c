"""The runbook's table is what the script prints; its formulas are the sizes of the real RPN."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from rpn_plugin.engine.tap_rows import row_size
from rpn_plugin.engine_args import PREFIX_CACHE_MIB
from rpn_plugin.network import layers
from rpn_plugin.network import rpn as head
from rpn_plugin.network.config import RpnConfig
from tests.deploy.chart import DEPLOY

SIZING = runpy.run_path(str(DEPLOY / "sizing.py"))
QWEN = [shape for shape in SIZING["MODELS"] if shape.bias]


def test_the_runbook_shows_what_the_script_prints() -> None:
    runbook = Path(DEPLOY.parent / "docs" / "operations.md").read_text()
    assert SIZING["table"]() in runbook


@pytest.mark.parametrize("shape", QWEN, ids=lambda shape: shape.name)
def test_the_formulas_are_those_of_the_code(shape: Any) -> None:
    config = RpnConfig(
        family="qwen2_5_vl",
        tap_layer=1,
        depth=SIZING["DEPTH"],
        base_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        mrope_section=(16, 24, 24),
        attention_bias=True,
    )
    with torch.device("meta"):
        rpn = head.RegionProposalNetwork(config)
    assert shape.rpn_parameters == sum(weight.numel() for weight in rpn.parameters())
    assert shape.tap_bytes == row_size(shape.hidden, torch.bfloat16) * torch.bfloat16.itemsize
    assert shape.cached_bytes == head.row_size(config) * torch.bfloat16.itemsize
    assert SIZING["PREFIX_CACHE_MIB"] == PREFIX_CACHE_MIB
    assert SIZING["MLP_TOKENS"] == layers.MLP_TOKENS
