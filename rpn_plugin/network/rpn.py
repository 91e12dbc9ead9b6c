"""The region proposal network: one plain torch module, for training and for serving.

It reads the hidden states that leave the model's layer B (the tap). R - 1 whole decoder layers of
the model's own kind follow, then the query and key half of one more: how much the last token of the
question attends to each token. No softmax is taken: the mean over heads of q.k / sqrt(d) is the
logit of "the answer needs this image token". What differs between families (biases, norms, rotary
positions) is declared in `families/`. Keys and shapes are those of the reference implementation's
`twig_layers`.

`forward` computes whole prompts, padded to one batch. The engine runs the same layers on ragged
batches over paged keys and values (`rpn_plugin/engine/runner/ragged.py`).
"""

from __future__ import annotations

from torch import Tensor, nn

from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.layers import DecoderLayer, ScoreLayer, norm_if
from rpn_plugin.network.rotary import rotary_angles


class RegionProposalNetwork(nn.Module):
    """Scores every token of a prompt for its question; the caller selects the image tokens."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        whole = [DecoderLayer(config) for _ in range(config.depth - 1)]
        self.layers = nn.ModuleList([*whole, ScoreLayer(config)])
        self.score_norm = norm_if(config.layers.score_norm, config.hidden_size, config)

    def forward(self, hidden: Tensor, positions: Tensor, query_index: Tensor) -> Tensor:
        """Logits float32 [batch, seq]: the scores of all tokens for row `query_index` of each
        sequence.

        `hidden` [batch, seq, hidden_size] are the tapped states, `positions` int [3, batch, seq]
        their rope positions (t, h, w; three equal ones where a token has one), `query_index` int
        [batch] the last prompt token. Sequences are padded on the right, with anything finite:
        attention is causal, so padding reaches no logit at or before `query_index`. Logits after it
        mean nothing.
        """
        rope = rotary_angles(positions, self.config)
        *whole, score = self.layers
        for layer in whole:
            hidden = layer(hidden, rope)
        score_rope = rope if self.config.layers.score_rope else None
        logits: Tensor = score(self.score_norm(hidden), score_rope, query_index)
        return logits


def row_size(config: RpnConfig) -> int:
    """Elements of one token's keys and values in the prefix cache of the RPN."""
    return cached_parts(config) * config.num_key_value_heads * config.head_dim


def cached_parts(config: RpnConfig) -> int:
    """Keys and values of every whole layer, keys of the layer that scores."""
    return 2 * config.depth - 1
