"""Attention from a few rows to the picture, read while the model runs; no full map is ever made.

transformers lets a model's attention be a function of one's own. Ours calls the fused kernel, as
without it, and beside it computes the softmax of the requested rows and layers only, averages them
and keeps what falls on the picture's cells. The memory this takes is rows x sequence per head for
one layer at a time, instead of sequence x sequence per head and layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NAME = "sdrpn_recording"
"""Under which our attention is registered with transformers."""


@dataclass(frozen=True)
class AttentionRequest:
    """What is to be recorded of one batch.

    `rows` int64 [batch, most rows]: places of the rows whose attention is averaged, -1 for none.
    `cells` int64 [batch, most cells]: places of the picture's cells, -1 for none. `layers`: heads
    requested of each layer, by the layer's number from 0.
    """

    rows: Tensor
    cells: Tensor
    layers: Mapping[int, Sequence[int]]


class _LastLayerDone(Exception):
    """The deepest requested layer has been recorded: the rest of the model need not run."""


@dataclass
class _AttentionRecorder:
    request: AttentionRequest
    numbers: dict[int, int]
    """Layer numbers by the identity of their attention module."""
    maps: dict[int, Tensor]


_current: _AttentionRecorder | None = None


def recorded_attention(
    model: nn.Module, layers: Sequence[nn.Module], request: AttentionRequest, run: Any
) -> dict[int, Tensor]:
    """Calls `run()`, a forward pass of `model`, and returns what was requested of it.

    For each layer of `request` float32 [batch, its heads, most cells]: the attention of each head
    to each cell, averaged over the rows; 0 where a sample has no such cell. `layers` are the
    decoder layers in order; their attention must have been set to `NAME`. The pass is ended early
    after the deepest of them.
    """
    numbers = {id(layer.self_attn): number for number, layer in enumerate(layers)}
    with (
        _recording(_AttentionRecorder(request, numbers, {})) as recording,
        suppress(_LastLayerDone),
    ):
        run()
    if missing := set(request.layers) - set(recording.maps):
        raise ValueError(f"layers {sorted(missing)} of {type(model).__name__} show no attention")
    return recording.maps


@contextmanager
def _recording(recording: _AttentionRecorder) -> Iterator[_AttentionRecorder]:
    global _current
    _current = recording
    try:
        yield recording
    finally:
        _current = None


def mean_attention(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float, request: AttentionRequest
) -> Tensor:
    """Attention of each head from the rows to the cells of `request`, averaged over the rows.

    `query` [batch, heads, seq, dim] and `key` [batch, kv heads, seq, dim] are rotated already;
    `mask` is transformers' mask for the fused kernel: bool or additive [batch, 1, seq, seq], or
    None for plain causal attention. Returns float32 [batch, heads, most cells].
    """
    rows, used = request.rows.clamp(min=0), (request.rows >= 0).float()
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    batch = torch.arange(len(rows), device=rows.device)[:, None]
    asked = query.transpose(1, 2)[batch, rows].float()  # [batch, rows, heads, dim]
    asked = asked.unflatten(2, (heads // groups, groups))
    scores = torch.einsum("brkgd,bksd->bkgrs", asked, key.float()) * scaling
    if mask is None:
        visible = torch.arange(key.shape[2], device=rows.device) <= rows[..., None]
    else:
        visible = mask.expand(len(rows), -1, -1, -1)[batch, 0, rows]
        visible = visible if visible.dtype == torch.bool else visible > -1e4
    scores = scores.masked_fill(~visible[:, None, None], float("-inf"))
    weights = scores.softmax(-1).flatten(1, 2)  # [batch, heads, rows, seq]
    share = used / used.sum(1, keepdim=True).clamp(min=1)
    mean = torch.einsum("bhrs,br->bhs", weights, share)
    cells = request.cells.clamp(min=0)[:, None].expand(-1, heads, -1)
    return mean.gather(2, cells) * (request.cells >= 0)[:, None]


def register() -> None:
    """Makes `NAME` known to transformers; harmless if it is already."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
        scaling: float | None = None, **others: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        _observe(module, query, key, mask, scaling)
        out, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **others)
        return out, None

    ALL_ATTENTION_FUNCTIONS.register(NAME, attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)


def _observe(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None
) -> None:
    if _current is None:
        return
    number = _current.numbers.get(id(module), -1)
    request = _current.request
    if number not in request.layers:
        return
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    maps = mean_attention(query, key, mask, scale, request)
    _current.maps[number] = maps[:, list(request.layers[number])]
    if number == max(request.layers):
        raise _LastLayerDone
