"""Rotary positions, as each family turns them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from rpn_plugin.network.config import RpnConfig

Rope = tuple[Tensor, Tensor]
"""Cosine and sine, float32 [batch, 1, seq, head_dim / 2]."""


def rotary_angles(positions: Tensor, config: RpnConfig) -> Rope:
    """Each rotary frequency turns with one of the three position axes.

    `positions` int [3, batch, seq].
    """
    axis, frequency = _constants(config, positions.device)
    angle = positions[axis].permute(1, 2, 0).float() * frequency
    return angle.cos()[:, None], angle.sin()[:, None]


@lru_cache(maxsize=16)
def _constants(config: RpnConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """The axis and the speed of each frequency; copied to a device once, because a copy waits."""
    half = config.head_dim // 2
    with torch.inference_mode(False):
        steps = torch.arange(half, dtype=torch.float32, device=device) / half
        axis = torch.tensor(_axis_of_each_frequency(config), device=device)
        return axis, 1.0 / (config.rope_theta**steps)


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
