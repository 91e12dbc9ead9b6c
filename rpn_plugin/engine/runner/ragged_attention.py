"""Attention of a ragged batch over paged keys and values, in two implementations.

On CUDA, vLLM's `flash_attn_varlen_func` (vllm.v1.attention.backends.fa_utils): no mask, no padding,
no copy of the cached keys. Elsewhere, and in float32, which flash attention does not take, one
dense call for each sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rpn_plugin.network.config import RpnConfig


@dataclass(frozen=True)
class Sequences:
    """The sequences that a slice of tokens belongs to, on the host and on the device.

    Each has `queries` tokens in the slice, the last of its first `keys` tokens. `starts` int32
    [sequences + 1] are the queries' offsets, `lengths` int32 [sequences] the keys, `tables` int32
    [sequences, most pages] the pages of the keys.
    """

    queries: Sequence[int]
    keys: Sequence[int]
    starts: Tensor
    lengths: Tensor
    tables: Tensor


RaggedAttention = Callable[[Tensor, Tensor, Tensor, Sequences], Tensor]
"""Queries [tokens, heads, head_dim], key and value pages [pages, page_tokens, kv_heads, head_dim]
in; attended values in the shape of the queries out. Each token sees its sequence up to itself.
"""


def dense_attention(query: Tensor, keys: Tensor, values: Tensor, sequences: Sequences) -> Tensor:
    """One call of torch's attention for each sequence, on gathered keys and values."""
    outputs = []
    for part, length, pages in zip(
        query.split(list(sequences.queries)), sequences.keys, sequences.tables, strict=True
    ):
        used = pages[: -(-length // keys.shape[1])]
        key, value = (x[used].flatten(0, 1)[:length].transpose(0, 1) for x in (keys, values))
        outputs.append(_attend(part.transpose(0, 1), key, value).transpose(0, 1))
    return torch.cat(outputs)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[heads, queries, head_dim] over [kv_heads, keys, head_dim]; the last token sees all keys."""
    queries, keys = query.shape[1], key.shape[1]
    groups = query.shape[0] // key.shape[0]
    if queries == keys:
        return F.scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, enable_gqa=groups > 1
        )[0]
    mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
    # With a mask and grouped heads, torch would write out all scores in float32.
    key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
    return F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask)[0]


def attention_for(config: RpnConfig, device: torch.device, dtype: torch.dtype) -> RaggedAttention:
    """The implementation for a device: flash attention where there is one."""
    if device.type != "cuda" or dtype == torch.float32:
        return dense_attention
    from vllm.v1.attention.backends.fa_utils import get_flash_attn_version

    version = get_flash_attn_version(head_size=config.head_dim)
    return dense_attention if version is None else _flash_attention(version)


def _flash_attention(version: int) -> RaggedAttention:
    from vllm.v1.attention.backends.fa_utils import flash_attn_varlen_func

    def attend(query: Tensor, keys: Tensor, values: Tensor, sequences: Sequences) -> Tensor:
        out: Tensor = flash_attn_varlen_func(
            q=query,
            k=keys,
            v=values,
            max_seqlen_q=max(sequences.queries),
            cu_seqlens_q=sequences.starts,
            max_seqlen_k=max(sequences.keys),
            seqused_k=sequences.lengths,
            block_table=sequences.tables,
            causal=True,
            fa_version=version,
        )
        return out

    return attend
