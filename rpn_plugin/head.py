"""The region proposal network: one plain torch module, for training and for serving.

It reads the hidden states that leave the model's layer B (the tap). R - 1 whole decoder layers of
the model's own kind follow, then the query and key half of one more: how much the last token of the
question looks at each token. No softmax is taken: the mean over heads of q.k / sqrt(d) is the logit
of "the answer needs this image token". What differs between families (biases, norms, rotary
positions) is declared in `families/`. Keys and shapes are those of the reference implementation's
`twig_layers`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rpn_plugin.config import RpnConfig


class RegionProposalNetwork(nn.Module):
    """Scores every token of a prompt as the question sees it; the caller picks the image tokens."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        whole = [DecoderLayer(config) for _ in range(config.depth - 1)]
        self.layers = nn.ModuleList([*whole, ScoreLayer(config)])
        self.score_norm = _norm(config.layers.score_norm, config.hidden_size, config)

    def forward(self, hidden: Tensor, positions: Tensor, query_index: Tensor) -> Tensor:
        """Logits float32 [batch, seq] of what row `query_index` of each sequence looks at.

        `hidden` [batch, seq, hidden_size] are the tapped states, `positions` int [3, batch, seq]
        their rope positions (t, h, w; three equal ones where a token has one), `query_index` int
        [batch] the last prompt token. Sequences
        are padded on the right, with anything finite: attention is causal, so padding reaches no
        logit at or before `query_index`. Logits after it mean nothing.
        """
        rope = rotary_angles(positions, self.config)
        *whole, score = self.layers
        for layer in whole:
            hidden = layer(hidden, rope)
        hidden = self.score_norm(hidden)
        logits: Tensor = score(hidden, rope if self.config.layers.score_rope else None, query_index)
        return logits


class DecoderLayer(nn.Module):
    """A decoder layer: attention and MLP, each behind an RMS norm and beside a residual."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = CausalAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, hidden: Tensor, rope: Rope) -> Tensor:
        """[batch, seq, hidden_size] in and out."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rope)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class ScoreLayer(nn.Module):
    """The query and key half of a decoder layer, read out as one score per token."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = QueryKey(config)

    def forward(self, hidden: Tensor, rope: Rope | None, query_index: Tensor) -> Tensor:
        """Float32 [batch, seq]: mean over heads of q.k / sqrt(head_dim)."""
        query, key = self.self_attn.query_key(self.input_layernorm(hidden), rope)
        batch, heads, _, head_dim = query.shape
        row = torch.arange(batch, device=query.device)
        asked = query[row, :, query_index]
        # Heads that share a key add up before the product, which is the same sum in a quarter of
        # the work; autocast is kept out because scores feed a loss and a threshold.
        with torch.autocast(hidden.device.type, enabled=False):
            asked = asked.float().unflatten(1, (key.shape[1], -1)).sum(2)
            scores = torch.einsum("bgd,bgsd->bs", asked, key.float())
        return scores / (heads * math.sqrt(head_dim))


class QueryKey(nn.Module):
    """Queries and keys of one layer, normed and rotated as the family has it."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        query_size = config.num_attention_heads * config.head_dim
        key_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, key_size, bias=config.attention_bias)
        self.q_norm = _norm(config.layers.query_key_norm, config.head_dim, config)
        self.k_norm = _norm(config.layers.query_key_norm, config.head_dim, config)

    def query_key(self, x: Tensor, rope: Rope | None) -> tuple[Tensor, Tensor]:
        """Queries [batch, heads, seq, head_dim] and keys [batch, kv_heads, seq, head_dim]; `rope`
        None leaves them unrotated.
        """
        query = self.q_norm(self.split_heads(self.q_proj(x)))
        key = self.k_norm(self.split_heads(self.k_proj(x)))
        return (query, key) if rope is None else (rotate(query, rope), rotate(key, rope))

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

    def forward(self, x: Tensor, rope: Rope) -> Tensor:
        """[batch, seq, hidden_size] in and out."""
        query, key = self.query_key(x, rope)
        value = self.split_heads(self.v_proj(x))
        attended = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=query.shape[1] != key.shape[1]
        )
        out: Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))
        return out


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


def _norm(present: bool, size: int, config: RpnConfig) -> nn.Module:
    """A norm that only some families have; in its place, nothing (and no weights)."""
    return RMSNorm(size, config.rms_norm_eps) if present else nn.Identity()


Rope = tuple[Tensor, Tensor]
"""Cosine and sine, float32 [batch, 1, seq, head_dim / 2]."""


def rotary_angles(positions: Tensor, config: RpnConfig) -> Rope:
    """Each rotary frequency turns with one of the three position axes.

    `positions` int [3, batch, seq].
    """
    half = config.head_dim // 2
    device = positions.device
    steps = torch.arange(half, dtype=torch.float32, device=device) / half
    frequency = 1.0 / (config.rope_theta**steps)
    axis = torch.tensor(_axis_of_each_frequency(config), device=device)
    angle = positions[axis].permute(1, 2, 0).float() * frequency
    return angle.cos()[:, None], angle.sin()[:, None]


def _axis_of_each_frequency(config: RpnConfig) -> list[int]:
    """0, 1 or 2 (t, h, w) for each of the head_dim / 2 frequencies.

    In blocks (Qwen2-VL's mRoPE; a single axis is one block), or taking turns until h and w have had
    their share, and t the rest (Qwen3-VL's).
    """
    t, h, w = config.mrope_section
    if config.layers.rope != "interleaved_mrope":
        return [0] * t + [1] * h + [2] * w
    shares = (3 * t, 3 * h, 3 * w)
    return [f % 3 if f < shares[f % 3] else 0 for f in range(t + h + w)]


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Rotates each pair (i, i + head_dim / 2) of `x` [batch, heads, seq, head_dim], in float32."""
    cos, sin = rope
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)
