"""The RPN and its learned gate on a ragged batch: no padding, no mask, keys and values in pages.

The layers are those of the plain modules in `rpn_plugin/network`; only their attention is another.
A slice's keys and values are written to its pages first, then its queries attend to the pages, so
cached tokens, earlier slices and the slice itself are one case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from rpn_plugin.engine.runner.ragged_attention import RaggedAttention
from rpn_plugin.engine.runner.rpn_plan import Slice
from rpn_plugin.network.layers import Attend, ScoreLayer
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rotary import Rope, rotary_angles
from rpn_plugin.network.rpn import RegionProposalNetwork


class PagedAttention:
    """The attention of one slice, for each layer in turn."""

    def __init__(
        self, pages: Tensor, attention: RaggedAttention, cut: Slice, indices: Tensor
    ) -> None:
        self._pages, self._attention = pages, attention
        self.page_shape = pages.shape[-2:]
        """kv_heads and head_dim."""
        self._slots = indices[cut.page_slots]
        self._sequences = cut.sequences(indices)

    def layer(self, number: int) -> Attend:
        """Attention that keeps its keys and values in the two parts of this layer."""

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.write(2 * number, key)
            self.write(2 * number + 1, value)
            keys, values = self._pages[2 * number], self._pages[2 * number + 1]
            attended = self._attention(query[0].transpose(0, 1), keys, values, self._sequences)
            return attended.transpose(0, 1)[None]

        return attend

    def write(self, part: int, rows: Tensor) -> None:
        """Put the slice's keys or values [1, kv_heads, tokens, head_dim] into their pages."""
        self._pages[part].flatten(0, 1)[self._slots] = rows[0].transpose(0, 1)


def score_queries(
    rpn: RegionProposalNetwork,
    hidden: Tensor,
    positions: Tensor,
    last: Tensor,
    paged: PagedAttention,
) -> Tensor:
    """Float32 [lasts, kv_heads, head_dim] from a slice's states [tokens, hidden_size], positions
    int [3, tokens] and the rows `last` of its last tokens; keys and values go to their pages.
    """
    rope = rotary_angles(positions[:, None], rpn.config)
    *whole, last_layer = rpn.layers
    score = cast(ScoreLayer, last_layer)
    states = hidden[None]
    for number, layer in enumerate(whole):
        states = layer(states, rope, paged.layer(number))
    normed = score.input_layernorm(rpn.score_norm(states))
    score_rope = rope if rpn.config.layers.score_rope else None
    paged.write(2 * len(whole), score.self_attn.key(normed, score_rope))
    if not len(last):
        return hidden.new_empty(0, *paged.page_shape, dtype=torch.float32)
    query = score.self_attn.query(normed[:, last], score_rope and _rows(score_rope, last))
    return score.score_query(query[0].transpose(0, 1))


def gate_logits(
    gate: LearnedGate, hidden: Tensor, positions: Tensor, last: Tensor, paged: PagedAttention
) -> Tensor:
    """Float32 [lasts]; the arguments are those of `score_queries`."""
    rope = rotary_angles(positions[:, None], gate.config)
    states = hidden[None]
    for number, layer in enumerate(gate.layers):
        states = layer(states, rope, paged.layer(number))
    return gate.logits(states[0, last])


def score_images(queries: Tensor, keys: Tensor, tasks: Tensor, slots: Tensor, most: int) -> Tensor:
    """Logits float32 [image tokens]: the query of the task of each, with its key in the pages
    [pages, page_tokens, kv_heads, head_dim]; `most` tokens at a time.
    """
    flat = keys.flatten(0, 1)
    logits = [
        (queries[own] * flat[cut].float()).sum((1, 2))
        for own, cut in zip(tasks.split(most), slots.split(most), strict=True)
    ]
    return torch.cat(logits)


def _rows(rope: Rope, rows: Tensor) -> Rope:
    cos, sin = rope
    return cos[:, :, rows], sin[:, :, rows]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The slices' outputs, in the order of the tasks."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
