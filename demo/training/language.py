"""The language model on packed sequences: stock weights and maths, attention by segments.

A segment attends to the shared part and to itself; only these scores are computed. Attention is
written out: on a CPU its backward pass is faster so than the fused kernel's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from demo.training.packing import Packed


def hidden_states(language: Any, packed: Packed) -> Tensor:
    """Normed hidden states [batch, length, hidden] of `language` (Qwen2.5-VL's text model)."""
    hidden = language.embed_tokens(packed.ids)
    hidden = hidden.masked_scatter(packed.image_mask[..., None], packed.features.to(hidden.dtype))
    cos, sin = rope(language.config, packed.positions)
    for layer in language.layers:
        normed = layer.input_layernorm(hidden)
        hidden = hidden + _attention(layer.self_attn, normed, cos, sin, packed)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    normed = language.norm(hidden)
    assert isinstance(normed, Tensor)
    return normed


def rope(config: Any, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [batch, 1, length, head_dim] of multimodal rotary positions [3, …]."""
    parameters = config.rope_parameters
    half = config.hidden_size // config.num_attention_heads // 2
    frequencies = parameters["rope_theta"] ** (-torch.arange(half) / half)
    axis = torch.repeat_interleave(torch.arange(3), torch.tensor(parameters["mrope_section"]))
    angles = positions[axis].permute(1, 2, 0).float() * frequencies
    angles = torch.cat([angles, angles], -1)[:, None]
    return angles.cos(), angles.sin()


def _attention(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor, packed: Packed) -> Tensor:
    """Output [batch, length, hidden]."""
    batch, length, _ = hidden.shape
    q, k, v = (
        projection(hidden).reshape(batch, length, -1, attention.head_dim).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q, k = rotate(q, cos, sin) * attention.head_dim**-0.5, rotate(k, cos, sin)
    layout = packed.layout
    parts = (layout.shared, layout.first_cropped - layout.shared, length - layout.first_cropped)
    (q0, q1, q2), (k0, k1, k2), (v0, v1, v2) = (x.split(parts, 2) for x in (q, k, v))
    shared = _own(q0, k0, 1).softmax(-1) @ v0
    padding = torch.zeros(batch, 1, 1, layout.shared, dtype=q.dtype)
    padding.masked_fill_(~packed.used[:, None, None, : layout.shared], -1e4)
    plain = _segments(q1, k0, k1, v0, v1, padding, layout.plain)
    cropped = _segments(q2, k0, k2, v0, v2, padding, layout.cropped)
    mixed = torch.cat([shared, plain, cropped], 2).transpose(1, 2).reshape(batch, length, -1)
    output = attention.o_proj(mixed)
    assert isinstance(output, Tensor)
    return output


def _segments(
    q: Tensor, k0: Tensor, k: Tensor, v0: Tensor, v: Tensor, padding: Tensor, count: int
) -> Tensor:
    """Attention of `count` equal segments to the shared part (k0, v0) and each to itself: what is
    mixed, shaped as `q`.
    """
    if not count:
        return q
    shared = k0.shape[2]
    scores = torch.cat([q @ k0.transpose(-1, -2) + padding, _own(q, k, count)], -1)
    weights = scores.softmax(-1).to(v.dtype)
    own = weights[..., shared:].unflatten(2, (count, -1)) @ v.unflatten(2, (count, -1))
    mixed: Tensor = weights[..., :shared] @ v0 + own.flatten(2, 3)
    return mixed


def _own(q: Tensor, k: Tensor, count: int) -> Tensor:
    """Causal scores of each of `count` equal segments with itself [batch, heads, tokens, own]."""
    q, k = q.unflatten(2, (count, -1)), k.unflatten(2, (count, -1))
    scores = q @ k.transpose(-1, -2)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -1e4).flatten(2, 3)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [batch, heads, length, head_dim]."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
