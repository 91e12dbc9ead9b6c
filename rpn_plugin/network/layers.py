"""The layers the RPN is made of: a whole decoder layer, and the half that only scores.

They compute new tokens and return their keys (and values). Keys and values of the tokens before
them are optional arguments.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rotary import Rope, rotate


class DecoderLayer(nn.Module):
    """A decoder layer: attention and MLP, each behind an RMS norm and beside a residual."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = CausalAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(
        self,
        hidden: Tensor,
        rope: Rope,
        mask: Tensor | None = None,
        prefix_key: Tensor | None = None,
        prefix_value: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[batch, seq, hidden_size] in and out; and the new tokens' keys and values [batch,
        kv_heads, seq, head_dim]. `mask` as `Prefix` makes it; None without a prefix.
        """
        attended, key, value = self.self_attn(
            self.input_layernorm(hidden), rope, mask, prefix_key, prefix_value
        )
        hidden = hidden + attended
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out, key, value


class ScoreLayer(nn.Module):
    """The query and key half of a decoder layer, read out as one score per token."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = QueryKey(config)

    def forward(
        self,
        hidden: Tensor,
        rope: Rope | None,
        query_index: Tensor,
        prefix_key: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Float32 [batch, prefix + seq]: mean over heads of q.k / sqrt(head_dim), for the query of
        row `query_index` alone. And the new tokens' keys.
        """
        normed = self.input_layernorm(hidden)
        row = torch.arange(len(hidden), device=hidden.device)
        query_rope = None
        if rope is not None:
            cos, sin = rope
            query_rope = cos[row, :, query_index][:, :, None], sin[row, :, query_index][:, :, None]
        query = self.self_attn.query(normed[row, query_index][:, None], query_rope)[:, :, 0]
        key = self.self_attn.key(normed, rope)
        keys = _append(prefix_key, key)
        _, heads, head_dim = query.shape
        # Heads that share a key add up before the product, which is the same sum in a quarter of
        # the work; autocast is kept out because scores feed a loss and a threshold.
        with torch.autocast(hidden.device.type, enabled=False):
            grouped = query.float().unflatten(1, (keys.shape[1], -1)).sum(2)
            scores = torch.einsum("bgd,bgsd->bs", grouped, keys.float())
        return scores / (heads * math.sqrt(head_dim)), key


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

    def query_key(self, x: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor]:
        """Both, of the same tokens."""
        return self.query(x, rope), self.key(x, rope)

    def split_heads(self, x: Tensor) -> Tensor:
        """[batch, seq, heads * head_dim] -> [batch, heads, seq, head_dim]."""
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)


class CausalAttention(QueryKey):
    """Grouped-query attention of every token to itself and the tokens before it."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__(config)
        query_size = config.num_attention_heads * config.head_dim
        key_size = config.num_key_value_heads * config.head_dim
        self.v_proj = nn.Linear(config.hidden_size, key_size, bias=config.attention_bias)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=False)

    def forward(
        self,
        x: Tensor,
        rope: Rope,
        mask: Tensor | None,
        prefix_key: Tensor | None,
        prefix_value: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[batch, seq, hidden_size] in and out, and the new keys and values; as DecoderLayer's."""
        query, key = self.query_key(x, rope)
        value = self.split_heads(self.v_proj(x))
        attended = F.scaled_dot_product_attention(
            query,
            _append(prefix_key, key),
            _append(prefix_value, value),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return self.o_proj(merge_heads(attended)), key, value


def _append(prefix: Tensor | None, new: Tensor) -> Tensor:
    """`new` after `prefix`, along the sequence."""
    return new if prefix is None else torch.cat((prefix, new), dim=2)


def merge_heads(x: Tensor) -> Tensor:
    """[batch, heads, seq, head_dim] -> [batch, seq, heads * head_dim]."""
    return x.transpose(1, 2).flatten(2)


class GatedMLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden_size] in and out."""
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
