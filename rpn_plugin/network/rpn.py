"""The region proposal network: one plain torch module, for training and for serving.

It reads the hidden states that leave the model's layer B (the tap). R - 1 whole decoder layers of
the model's own kind follow, then the query and key half of one more: how much the last token of the
question looks at each token. No softmax is taken: the mean over heads of q.k / sqrt(d) is the logit
of "the answer needs this image token". What differs between families (biases, norms, rotary
positions) is declared in `families/`. Keys and shapes are those of the reference implementation's
`twig_layers`.

Attention is causal, so what a prompt's first tokens come to does not depend on those that follow.
`extend` hands that out as one row for each token, and takes it back when another prompt begins with
the same tokens: another question about the same picture costs the question alone.
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
class Past:
    """What is known of the tokens before those to compute: `rows` [batch, past, row_size], given
    out by `RegionProposalNetwork.extend`. Of each prompt's the first `lengths` int [batch] count;
    the others are masked, but must be finite.
    """

    rows: Tensor
    lengths: Tensor

    def mask(self, queries: int) -> Tensor:
        """Which keys each new token sees: bool [batch, 1, queries, past + queries]."""
        batch, past, _ = self.rows.shape
        device = self.rows.device
        known = torch.arange(past, device=device) < self.lengths[:, None]
        causal = torch.ones(queries, queries, dtype=torch.bool, device=device).tril()
        seen = known[:, None].expand(batch, queries, past), causal.expand(batch, queries, queries)
        return torch.cat(seen, dim=-1)[:, None]


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
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, past: Past | None
    ) -> tuple[Tensor, Tensor]:
        """`forward` for tokens that follow those of `past`, which are not computed again.

        Logits float32 [batch, past + seq]: first those of the rows of `past`, then those of
        `hidden`. And the rows [batch, seq, row_size] that a later `past` needs of the new tokens.
        """
        logits, rows = self._run(hidden, positions, query_index, past)
        return logits, torch.cat(rows, dim=-1)

    def _run(
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, past: Past | None
    ) -> tuple[Tensor, list[Tensor]]:
        rope = rotary_angles(positions, self.config)
        mask = None if past is None else past.mask(hidden.shape[1])
        *whole, score = self.layers
        # Two a whole layer, then the score's keys.
        *known, known_keys = known_of(past, 2 * len(whole) + 1, self.config.head_dim)
        hidden, rows = through(whole, hidden, rope, mask, known)
        hidden = self.score_norm(hidden)
        score_rope = rope if self.config.layers.score_rope else None
        logits, key = score(hidden, score_rope, query_index, known_keys)
        return logits, [*rows, merge_heads(key)]


def through(
    layers: Iterable[nn.Module],
    hidden: Tensor,
    rope: Rope,
    mask: Tensor | None,
    known: Sequence[Tensor | None],
) -> tuple[Tensor, list[Tensor]]:
    """Whole layers, one after another: states [batch, seq, hidden_size] in and out, and the new
    tokens' keys and values [batch, seq, ...]. `known` are those of the past, two a layer.
    """
    rows: list[Tensor] = []
    for layer, key, value in zip(layers, known[::2], known[1::2], strict=True):
        hidden, key, value = layer(hidden, rope, mask, key, value)
        rows += [merge_heads(key), merge_heads(value)]
    return hidden, rows


def known_of(past: Past | None, parts: int, head_dim: int) -> Sequence[Tensor | None]:
    """The rows of `past` cut into so many keys and values [batch, kv_heads, past, head_dim]."""
    if past is None:
        return [None] * parts
    return [
        part.unflatten(-1, (-1, head_dim)).transpose(1, 2)
        for part in past.rows.chunk(parts, dim=-1)
    ]


def row_size(config: RpnConfig) -> int:
    """Elements of what `RegionProposalNetwork.extend` remembers of one token."""
    return (2 * config.depth - 1) * config.num_key_value_heads * config.head_dim
