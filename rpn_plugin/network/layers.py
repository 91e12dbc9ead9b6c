"""The layers the RPN is made of: a whole decoder layer, and the half that only scores.

The attention of a decoder layer is a parameter: plain causal attention within each sequence by
default, attention over paged keys and values in the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rotary import Rope, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries [batch, heads, seq, head_dim], keys and values [batch, kv_heads, seq, head_dim] in;
attended values in the shape of the queries out.
"""

MLP_TOKENS = 2048
"""The MLP runs on so many tokens at a time: its intermediate is several times a hidden state."""


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every token attends to itself and to the tokens before it in its sequence."""
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)


class DecoderLayer(nn.Module):
    """A decoder layer: attention and MLP, each behind an RMS norm and beside a residual."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = SelfAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, hidden: Tensor, rope: Rope, attend: Attend = causal_attention) -> Tensor:
        """[batch, seq, hidden_size] in and out."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rope, attend)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class ScoreLayer(nn.Module):
    """The query and key half of a decoder layer, read out as one score per token."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = QueryKey(config)

    def forward(self, hidden: Tensor, rope: Rope | None, query_index: Tensor) -> Tensor:
        """Float32 [batch, seq]: mean over heads of q.k / sqrt(head_dim), for the query of row
        `query_index` alone.
        """
        normed = self.input_layernorm(hidden)
        row = torch.arange(len(hidden), device=hidden.device)
        query_rope = None
        if rope is not None:
            cos, sin = rope
            query_rope = cos[row, :, query_index][:, :, None], sin[row, :, query_index][:, :, None]
        query = self.self_attn.query(normed[row, query_index][:, None], query_rope)
        key = self.self_attn.key(normed, rope)
        # Autocast is kept out because scores feed a loss and a threshold.
        with torch.autocast(hidden.device.type, enabled=False):
            scores: Tensor = torch.einsum(
                "bgd,bgsd->bs", self.score_query(query[:, :, 0]), key.float()
            )
        return scores

    def score_query(self, query: Tensor) -> Tensor:
        """Float32 [batch, kv_heads, head_dim] whose product with a token's keys is its score, from
        queries [batch, heads, head_dim].

        Heads that share a key are added before the product: the same sum in a quarter of the work.
        """
        _, heads, head_dim = query.shape
        kv_heads = self.self_attn.k_proj.out_features // head_dim
        grouped = query.float().unflatten(1, (kv_heads, -1)).sum(2)
        scaled: Tensor = grouped / (heads * math.sqrt(head_dim))
        return scaled


class QueryKey(nn.Module):
    """Queries and keys of one layer, normed and rotated as the family has it."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        query_size = config.num_attention_heads * config.head_dim
        key_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, key_size, bias=config.attention_bias)
        self.q_norm = norm_if(config.layers.query_key_norm, config.head_dim, config)
        self.k_norm = norm_if(config.layers.query_key_norm, config.head_dim, config)

    def query(self, x: Tensor, rope: Rope | None) -> Tensor:
        """Queries [batch, heads, seq, head_dim]; `rope` None leaves them unrotated."""
        query: Tensor = self.q_norm(self.split_heads(self.q_proj(x)))
        return query if rope is None else rotate(query, rope)

    def key(self, x: Tensor, rope: Rope | None) -> Tensor:
        """Keys [batch, kv_heads, seq, head_dim]."""
        key: Tensor = self.k_norm(self.split_heads(self.k_proj(x)))
        return key if rope is None else rotate(key, rope)

    def split_heads(self, x: Tensor) -> Tensor:
        """[batch, seq, heads * head_dim] -> [batch, heads, seq, head_dim]."""
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)


class SelfAttention(QueryKey):
    """Grouped-query attention; `attend` decides which tokens see which."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__(config)
        query_size = config.num_attention_heads * config.head_dim
        key_size = config.num_key_value_heads * config.head_dim
        self.v_proj = nn.Linear(config.hidden_size, key_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rope: Rope, attend: Attend) -> Tensor:
        """[batch, seq, hidden_size] in and out."""
        value = self.split_heads(self.v_proj(x))
        attended = attend(self.query(x, rope), self.key(x, rope), value)
        out: Tensor = self.o_proj(merge_heads(attended))
        return out


def merge_heads(x: Tensor) -> Tensor:
    """[batch, heads, seq, head_dim] -> [batch, seq, heads * head_dim]."""
    return x.transpose(1, 2).flatten(2)


class GatedMLP(nn.Module):
    """SwiGLU, in slices of tokens."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., tokens, hidden_size] in and out."""
        parts = [self._slice(part) for part in x.split(MLP_TOKENS, dim=-2)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)

    def _slice(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class RMSNorm(nn.Module):
    """Llama's and Qwen's norm: the mean square is taken in float32, whatever the dtype of `x`."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] in and out, in the dtype of `x`."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def norm_if(present: bool, size: int, config: RpnConfig) -> nn.Module:
    """A norm that only some families have; in its place, nothing (and no weights)."""
    return RMSNorm(size, config.rms_norm_eps) if present else nn.Identity()
