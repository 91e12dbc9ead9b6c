"""The tap: every token's hidden state after layer B, kept in a layer of vLLM's paged cache.

Because the states live in the cache beside keys and values, under the same block ids, they have
the same lifetime: chunked prefill fills them piece by piece, a prefix-cache hit finds them,
preemption computes them again. That holds only if every token is written, also for requests without
a RoI map.

Rests on `CacheOnlyAttentionLayer` (vllm.model_executor.models.extract_hidden_states), an attention
layer that stores and attends to nothing. Its metadata builder says that it cannot be captured in a
CUDA graph, and vLLM applies the weakest layer's limit to the whole model. Writing by slot is an
indexed copy, which can be captured, so our builder says ALWAYS.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.model_executor.models.extract_hidden_states import (
    CacheOnlyAttentionBackend,
    CacheOnlyAttentionLayer,
    CacheOnlyAttentionMetadataBuilder,
)
from vllm.v1.attention.backend import AttentionCGSupport

from rpn_plugin.engine.start_check import prefix_cache_bytes
from rpn_plugin.engine.tap_rows import pack, row_size
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.learned_gate import row_size as gate_row_size
from rpn_plugin.network.rpn import RegionProposalNetwork
from rpn_plugin.network.rpn import row_size as rpn_row_size

TAP_LAYER = "sdrpn_tap."
"""What the tap's name among vLLM's cache layers begins with."""


class TapMetadataBuilder(CacheOnlyAttentionMetadataBuilder):
    """Hands on the slots to write, for any batch and under any CUDA graph."""

    _cudagraph_support: ClassVar[AttentionCGSupport] = AttentionCGSupport.ALWAYS


class TapBackend(CacheOnlyAttentionBackend):
    """The cache-only backend with our metadata builder."""

    @staticmethod
    def get_name() -> str:
        """A name of its own: vLLM keeps one metadata builder per backend."""
        return "SDRPN_TAP"

    @staticmethod
    def get_builder_cls() -> type[TapMetadataBuilder]:
        """Our builder."""
        return TapMetadataBuilder


class TapLayer(CacheOnlyAttentionLayer):
    """The paged states, the RPN and its gate that read them, and their prefix caches.

    All of it is part of the model, so vLLM counts it before it sizes its KV cache.
    """

    prefix_cache: Tensor
    gate_prefix_cache: Tensor

    def __init__(self, vllm_config: VllmConfig, config: RpnConfig) -> None:
        super().__init__(
            num_heads=1,
            head_size=row_size(config.hidden_size, vllm_config.model_config.dtype),
            # States keep the model's dtype when keys and values are quantised.
            cache_config=replace(vllm_config.cache_config, cache_dtype="auto"),
            # vLLM orders cache layers by the one integer in their name.
            prefix=f"{TAP_LAYER}{vllm_config.model_config.get_total_num_hidden_layers()}",
        )
        self.attn_backend = TapBackend
        self.rpn = RegionProposalNetwork(config).requires_grad_(False)
        self.gate = LearnedGate(config).requires_grad_(False) if config.gate_layers else None
        dtype = vllm_config.model_config.dtype
        size = prefix_cache_bytes(vllm_config.model_config.hf_config)
        rows = {"prefix_cache": rpn_row_size(config), "gate_prefix_cache": gate_row_size(config)}
        tokens = size // (sum(rows.values()) * dtype.itemsize)
        for name, row in rows.items():
            self.register_buffer(name, torch.empty(tokens, row, dtype=dtype), persistent=False)

    def forward(self, hidden: Tensor, positions: Tensor) -> None:
        """Write this step's tokens: states [tokens, hidden_size], positions int [3, tokens]."""
        super().forward(pack(hidden, positions)[:, None])
