"""The learned gate: the probability that a question needs a zoom (Q-Zoom, arXiv 2604.06912).

It reads the tapped states beside the RPN: some whole decoder layers of the model's own kind, then
one linear head on the last token of the question. Keys and shapes are those of the reference
implementation's `high_res_layers` and `high_res_head`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.layers import DecoderLayer
from rpn_plugin.network.rotary import rotary_angles


class LearnedGate(nn.Module):
    """`config.gate_layers` decoder layers and a head."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.gate_layers))
        self.head = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, positions: Tensor, query_index: Tensor) -> Tensor:
        """Logits float32 [batch] that a zoom is needed.

        The arguments are those of `RegionProposalNetwork.forward`.
        """
        rope = rotary_angles(positions, self.config)
        for layer in self.layers:
            hidden = layer(hidden, rope)
        row = torch.arange(len(hidden), device=hidden.device)
        return self.logits(hidden[row, query_index])

    def logits(self, last: Tensor) -> Tensor:
        """Logits float32 [batch] from the last tokens' states [batch, hidden_size]."""
        logits: Tensor = self.head(last)[..., 0].float()
        return logits


def row_size(config: RpnConfig) -> int:
    """Elements of one token's keys and values in the prefix cache of the gate."""
    return cached_parts(config) * config.num_key_value_heads * config.head_dim


def cached_parts(config: RpnConfig) -> int:
    """Keys and values of every layer."""
    return 2 * config.gate_layers
