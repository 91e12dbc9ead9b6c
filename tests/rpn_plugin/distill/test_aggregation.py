"""Rows, cells and heads of attention are averaged as the released scripts do, within 1e-4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rpn_plugin.distill.labels.attention import AttentionRequest, mean_attention
from rpn_plugin.distill.labels.attention_maps import combined, select, union

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "pseudo_labels"
CASES = json.loads((GOLDEN / "aggregation.json").read_text())
RECORDED = [name for name in CASES if (GOLDEN / f"aggregation_{name}.npz").exists()]
CELLS = list(range(5, 29))


def heads_of(case: dict[str, Any], key: str) -> dict[int, tuple[int, ...]]:
    return {int(layer): tuple(heads) for layer, heads in case[key].items()}


def attention_of_layer(arrays: Any, layer: int) -> Tensor:
    """The recorded probabilities of the decode steps [heads, steps, keys], put into queries and
    keys whose softmax they are, and read back by our code."""
    steps = [torch.from_numpy(arrays[f"attn.layer{layer}.step{j}"])[0, :, 0] for j in range(1, 6)]
    heads, length = steps[0].shape[0], steps[-1].shape[1]
    key = torch.zeros(1, heads, length, len(steps))
    for j, step in enumerate(steps):
        key[0, :, : step.shape[1], j] = step.log()
    query = torch.zeros(1, heads, length, len(steps))
    rows = [length - len(steps) + j for j in range(len(steps))]
    for j, row in enumerate(rows):
        query[0, :, row, j] = 1.0
    wanted = AttentionRequest(torch.tensor([rows]), torch.tensor([CELLS]), {})
    return mean_attention(query, key, None, 1.0, wanted)


@pytest.mark.parametrize("name", RECORDED)
def test_maps_equal_the_recorded_ones(name: str) -> None:
    case, arrays = CASES[name], np.load(GOLDEN / f"aggregation_{name}.npz")
    grounding, sinks = heads_of(case, "grounding_heads"), heads_of(case, "sink_heads")
    recorded = union(grounding, sinks)
    maps = {
        layer: attention_of_layer(arrays, layer)[:, list(heads)]
        for layer, heads in recorded.items()
    }
    for heads, key in ((grounding, "grounding_attn_o2i"), (sinks, "sink_attn")):
        if heads:
            ours = combined(select(maps, heads, recorded))[0].numpy()
            np.testing.assert_allclose(ours, arrays[key].ravel(), atol=1e-4)


def test_cases_of_every_kind_are_there() -> None:
    assert len(RECORDED) >= 3
    assert any(CASES[name]["sink_heads"] for name in RECORDED)
