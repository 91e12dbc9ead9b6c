"""The region proposal network: one plain torch module, for training and for serving.

It reads the hidden states that leave the model's layer B (the tap). R - 1 whole decoder layers of
the model's own kind follow, then the query and key half of one more: how much the last token of the
question looks at each token. No softmax is taken: the mean over heads of q.k / sqrt(d) is the logit
of "the answer needs this image token". What differs between families (biases, norms, rotary
positions) is declared in `families/`. Keys and shapes are those of the reference implementation's
`twig_layers`.

Attention is causal, so what a prompt's first tokens come to does not depend on those that follow.
`extend` returns one row of keys and values for each token and takes such rows as the prefix of
another prompt that begins with the same tokens: a second question about the same picture costs only
the tokens of the question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.layers import DecoderLayer, ScoreLayer, merge_heads, norm_if
from rpn_plugin.network.rotary import Rope, rotary_angles


@dataclass(frozen=True)
class Prefix:
    """The cached tokens before those to compute: `rows` [batch, prefix, row_size], as
    `RegionProposalNetwork.extend` returned them. Of each prompt the first `lengths` int [batch]
    count; the others are masked and must be finite.
    """

    rows: Tensor
    lengths: Tensor

    def mask(self, queries: int) -> Tensor:
        """The keys each new token attends to: bool [batch, 1, queries, prefix + queries]."""
        batch, length, _ = self.rows.shape
        device = self.rows.device
        cached = torch.arange(length, device=device) < self.lengths[:, None]
        causal = torch.ones(queries, queries, dtype=torch.bool, device=device).tril()
        parts = cached[:, None].expand(batch, queries, length), causal.expand(batch, queries, -1)
        return torch.cat(parts, dim=-1)[:, None]


class RegionProposalNetwork(nn.Module):
    """Scores every token of a prompt as the question sees it; the caller picks the image tokens."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        whole = [DecoderLayer(config) for _ in range(config.depth - 1)]
        self.layers = nn.ModuleList([*whole, ScoreLayer(config)])
        self.score_norm = norm_if(config.layers.score_norm, config.hidden_size, config)

    def forward(self, hidden: Tensor, positions: Tensor, query_index: Tensor) -> Tensor:
        """Logits float32 [batch, seq] of what row `query_index` of each sequence looks at.

        `hidden` [batch, seq, hidden_size] are the tapped states, `positions` int [3, batch, seq]
        their rope positions (t, h, w; three equal ones where a token has one), `query_index` int
        [batch] the last prompt token. Sequences are padded on the right, with anything finite:
        attention is causal, so padding reaches no logit at or before `query_index`. Logits after it
        mean nothing.
        """
        return self._run(hidden, positions, query_index, None)[0]

    def extend(
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, prefix: Prefix | None
    ) -> tuple[Tensor, Tensor]:
        """`forward` for tokens that follow those of `prefix`, which are not computed again.

        Logits float32 [batch, prefix + seq]: first those of the rows of `prefix`, then those of
        `hidden`. And the rows [batch, seq, row_size] of the new tokens for a later `prefix`.
        """
        logits, rows = self._run(hidden, positions, query_index, prefix)
        return logits, torch.cat(rows, dim=-1)

    def _run(
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, prefix: Prefix | None
    ) -> tuple[Tensor, list[Tensor]]:
        rope = rotary_angles(positions, self.config)
        mask = None if prefix is None else prefix.mask(hidden.shape[1])
        *whole, score = self.layers
        # Two a whole layer, then the score's keys.
        *cached, cached_keys = split_prefix(prefix, 2 * len(whole) + 1, self.config.head_dim)
        hidden, rows = run_layers(whole, hidden, rope, mask, cached)
        hidden = self.score_norm(hidden)
        score_rope = rope if self.config.layers.score_rope else None
        logits, key = score(hidden, score_rope, query_index, cached_keys)
        return logits, [*rows, merge_heads(key)]


def run_layers(
    layers: Iterable[nn.Module],
    hidden: Tensor,
    rope: Rope,
    mask: Tensor | None,
    cached: Sequence[Tensor | None],
) -> tuple[Tensor, list[Tensor]]:
    """Whole layers, one after another: states [batch, seq, hidden_size] in and out, and the new
    tokens' keys and values [batch, seq, ...]. `cached` are those of the prefix, two a layer.
    """
    rows: list[Tensor] = []
    for layer, key, value in zip(layers, cached[::2], cached[1::2], strict=True):
        hidden, key, value = layer(hidden, rope, mask, key, value)
        rows += [merge_heads(key), merge_heads(value)]
    return hidden, rows


def split_prefix(prefix: Prefix | None, parts: int, head_dim: int) -> Sequence[Tensor | None]:
    """The rows of `prefix` as `parts` keys and values [batch, kv_heads, prefix, head_dim]."""
    if prefix is None:
        return [None] * parts
    return [
        part.unflatten(-1, (-1, head_dim)).transpose(1, 2)
        for part in prefix.rows.chunk(parts, dim=-1)
    ]


def row_size(config: RpnConfig) -> int:
    """Elements of one token's row in the prefix cache of the RPN."""
    return (2 * config.depth - 1) * config.num_key_value_heads * config.head_dim
