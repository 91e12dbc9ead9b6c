"""Many chats between their two passes: what the vision tower made of their base views is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from vllm import EngineArgs
from vllm.config import ModelConfig
from vllm.v1.core.encoder_cache_manager import compute_mm_encoder_budget

from rpn_plugin.engine.encoder_budget import ENCODER_CACHE_MIB, bytes_per_token
from rpn_plugin.engine_args import hf_overrides, kv_transfer_config
from server.shipped_model import SHIPPED_MODEL

TOKEN = 192 * 4
"""Bytes of one of the shipped model's visual tokens in float32."""


def engine_config(**arguments: Any) -> Any:
    return EngineArgs(
        model=str(SHIPPED_MODEL),
        dtype="float32",
        hf_overrides=hf_overrides(SHIPPED_MODEL / "rpn"),
        kv_transfer_config=kv_transfer_config(),
        max_model_len=1024,
        **arguments,
    ).create_engine_config()


@pytest.mark.parametrize(
    ("a_step", "kept"), [(1024, ENCODER_CACHE_MIB * 2**20 // TOKEN), (1_000_000, 1_000_000)]
)
def test_there_is_room_for_the_views_of_many_chats(a_step: int, kept: int) -> None:
    scheduler = engine_config(max_num_batched_tokens=a_step).scheduler_config
    a_step_encodes, room = compute_mm_encoder_budget(scheduler, {"image": 64})
    assert (a_step_encodes, room) == (a_step, kept)


def test_levels_of_the_vision_tower_count() -> None:
    def model(**vision: Any) -> ModelConfig:
        config = SimpleNamespace(
            hf_config=SimpleNamespace(vision_config=SimpleNamespace(**vision)),
            get_inputs_embeds_size=lambda: 64,
            dtype=torch.bfloat16,
        )
        return cast(ModelConfig, config)

    assert bytes_per_token(model()) == 128
    assert bytes_per_token(model(deepstack_visual_indexes=[5, 11, 17])) == 4 * 128
