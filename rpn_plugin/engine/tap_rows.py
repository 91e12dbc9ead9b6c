"""A token's tapped state and its rope positions as one row of the paged cache.

With the positions beside the state, whoever reads the cache needs neither picture sizes nor the
model's position rules, and a prefix-cache hit brings them along.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_POSITION_BYTES = 16
"""Three int32 and one of padding: a multiple of every float's size."""


def row_size(hidden_size: int, dtype: torch.dtype) -> int:
    """Elements of `dtype` in one row."""
    return hidden_size + _POSITION_BYTES // dtype.itemsize


def pack(hidden: Tensor, positions: Tensor) -> Tensor:
    """Rows [tokens, row_size] from states [tokens, hidden_size] and positions int [3, tokens].

    Positions [tokens], of a model with one rope axis, stand for all three.
    """
    axes = F.pad(positions.expand(3, -1).T.to(torch.int32), (0, 1))
    return torch.cat((hidden, axes.contiguous().view(hidden.dtype)), dim=-1)


def unpack(rows: Tensor, hidden_size: int) -> tuple[Tensor, Tensor]:
    """States [..., hidden_size] and positions int32 [3, ...] from rows [..., row_size]."""
    axes = rows[..., hidden_size:].contiguous().view(torch.int32)
    return rows[..., :hidden_size], axes[..., :3].movedim(-1, 0)
