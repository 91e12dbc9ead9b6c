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

import math
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context
from vllm.model_executor.models.extract_hidden_states import (
    CacheOnlyAttentionBackend,
    CacheOnlyAttentionLayer,
    CacheOnlyAttentionMetadataBuilder,
)
from vllm.v1.attention.backend import AttentionCGSupport

from rpn_plugin.engine.jobs import ImageSpan, RoiJob
from rpn_plugin.engine.runner.ragged_attention import attention_for
from rpn_plugin.engine.runner.rpn_batch import Network, PagedStates
from rpn_plugin.engine.runner.rpn_prefix_cache import RpnPrefixCache
from rpn_plugin.engine.runner.rpn_runner import RpnRunner
from rpn_plugin.engine.start_check import prefix_cache_bytes
from rpn_plugin.engine.tap_rows import pack, row_size
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.learned_gate import cached_parts as gate_parts
from rpn_plugin.network.learned_gate import row_size as gate_row_size
from rpn_plugin.network.rpn import RegionProposalNetwork
from rpn_plugin.network.rpn import cached_parts as rpn_parts
from rpn_plugin.network.rpn import row_size as rpn_row_size

TAP_LAYER = "sdrpn_tap."
"""What the tap's name among vLLM's cache layers begins with."""

_SPARE = 256
"""Tokens of pages that end unfinished."""

_WARM_UP_PAGE = 16


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
    """The paged states, the RPN and its gate that read them, and the pages these compute in.

    All of it is part of the model, so vLLM counts it before it sizes its KV cache.
    """

    rpn_pages: Tensor
    gate_pages: Tensor

    def __init__(self, vllm_config: VllmConfig, config: RpnConfig) -> None:
        model_config = vllm_config.model_config
        super().__init__(
            num_heads=1,
            head_size=row_size(config.hidden_size, model_config.dtype),
            # States keep the model's dtype when keys and values are quantised.
            cache_config=replace(vllm_config.cache_config, cache_dtype="auto"),
            # vLLM orders cache layers by the one integer in their name.
            prefix=f"{TAP_LAYER}{model_config.get_total_num_hidden_layers()}",
        )
        self.attn_backend = TapBackend
        dtype = rpn_dtype(model_config.dtype)
        self.rpn = RegionProposalNetwork(config).to(dtype).requires_grad_(False)
        self.gate = (
            LearnedGate(config).to(dtype).requires_grad_(False) if config.gate_layers else None
        )
        self.weights_version = 0
        """Changes when the weights of the RPN are loaded again."""
        self._slice_tokens = vllm_config.scheduler_config.max_num_batched_tokens
        self._row = row_size(config.hidden_size, model_config.dtype), model_config.dtype
        self._warm = False

        size = prefix_cache_bytes(model_config.hf_config)
        self._caching = size > 0
        rows = {"rpn_pages": rpn_row_size(config), "gate_pages": gate_row_size(config)}
        # Without a prefix cache, too, a step's keys and values need room.
        tokens = max(size // (sum(rows.values()) * dtype.itemsize), self._slice_tokens + _SPARE)
        for name, row in rows.items():
            self.register_buffer(name, torch.zeros(tokens * row, dtype=dtype), persistent=False)

    def forward(self, hidden: Tensor, positions: Tensor) -> None:
        """Write this step's tokens: states [tokens, hidden_size], positions int [3, tokens].

        In vLLM's profiling run, which has no cache to write to, the RPN runs once instead, so that
        its memory is measured and its kernels are loaded.
        """
        super().forward(pack(hidden, positions)[:, None])
        if not self._warm and get_forward_context().attn_metadata is None:
            self._warm = True
            self._warm_up(hidden.device)

    def runner(self, states: PagedStates) -> RpnRunner:
        """Runs the RPN and its gate over the tap's cache."""
        config, tokens = self.rpn.config, states.block_tokens
        rpn_cache = self._cache(self.rpn_pages, rpn_parts(config), tokens)
        attention = attention_for(config, self.rpn_pages.device, self.rpn_pages.dtype)
        gate = None
        if self.gate:
            gate_cache = self._cache(self.gate_pages, gate_parts(config), tokens)
            gate = Network(self.gate, gate_cache, attention)
        return RpnRunner(Network(self.rpn, rpn_cache, attention), states, self._slice_tokens, gate)

    def _cache(self, buffer: Tensor, parts: int, page_tokens: int) -> RpnPrefixCache:
        config = self.rpn.config
        page = (page_tokens, config.num_key_value_heads, config.head_dim)
        pages = buffer.numel() // (parts * math.prod(page))
        shape = (parts, pages, *page)
        return RpnPrefixCache(buffer[: math.prod(shape)].view(shape), self._caching)

    def _warm_up(self, device: torch.device) -> None:
        """One prompt of the largest slice, all an image but its last token."""
        row, dtype = self._row
        tokens, page = self._slice_tokens, _WARM_UP_PAGE
        blocks = -(-tokens // page)
        rows = torch.zeros(1, 1, 1, row, dtype=dtype, device=device).expand(blocks, 1, page, row)
        job = RoiJob(
            "warm-up", tuple(range(blocks)), tokens, ImageSpan(0, tokens - 1), (), bool(self.gate)
        )
        self.runner(PagedStates(rows, page)).run([job])


def rpn_dtype(model_dtype: torch.dtype) -> torch.dtype:
    """The dtype the RPN computes in. Qwen2 models have states that float16 cannot add up."""
    return torch.bfloat16 if model_dtype == torch.float16 else model_dtype
