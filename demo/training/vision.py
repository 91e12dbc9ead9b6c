"""The vision tower on batches of views of one size.

Stock code runs the tower on a packed list of pictures of any size; here pictures of one size are a
plain batch, which is several times faster on a CPU. The weights, and the results, are the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from demo.architecture import IMAGE_MEAN, IMAGE_STD, MERGE, PATCH


def vision_features(tower: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Runs `tower` (Qwen2.5-VL's) on pixels uint8 [batch, height, width, 3].

    Returns its last hidden states [batch, patches, hidden] in the order of the image processor, and
    the visual tokens [batch, cells, out_hidden], row by row.
    """
    rows, cols = pixels.shape[1] // PATCH, pixels.shape[2] // PATCH
    weight = tower.patch_embed.proj.weight.sum(2).flatten(1)  # both frames show the same picture
    hidden = F.linear(_patches(pixels), weight)
    cos, sin = _rope(rows, cols, tower.blocks[0].attn.head_dim)
    for block in tower.blocks:
        hidden = hidden + _attention(block.attn, block.norm1(hidden), cos, sin)
        hidden = hidden + block.mlp(block.norm2(hidden))
    batch, count, width = hidden.shape
    merged = tower.merger.ln_q(hidden).reshape(batch, count // MERGE**2, width * MERGE**2)
    return hidden, tower.merger.mlp(merged)


def _patches(pixels: Tensor) -> Tensor:
    """Normalised patches [batch, patches, 3 * 14 * 14], 2 x 2 blocks row by row."""
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    values = (pixels.float() / 255 - mean) / std
    batch, height, width, _ = values.shape
    step = PATCH * MERGE
    blocks = values.reshape(batch, height // step, MERGE, PATCH, width // step, MERGE, PATCH, 3)
    return blocks.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(batch, -1, 3 * PATCH * PATCH)


@lru_cache(maxsize=64)
def _rope(rows: int, cols: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [patches, head_dim] of each patch's row and column."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    place = torch.stack([row, col], -1).reshape(rows // MERGE, MERGE, cols // MERGE, MERGE, 2)
    place = place.transpose(1, 2).reshape(-1, 2, 1).float()
    quarter = head_dim // 4
    frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
    angles = (place * frequencies).flatten(1)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def _attention(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, count, width = hidden.shape
    qkv = attention.qkv(hidden).reshape(batch, count, 3, attention.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
    mixed = F.scaled_dot_product_attention(q, k, v)
    projected: Tensor = attention.proj(mixed.transpose(1, 2).reshape(batch, count, width))
    return projected


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
