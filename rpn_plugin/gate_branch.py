"""The learned gate: does this question need a second look at all (Q-Zoom, arXiv 2604.06912)?

It reads the tapped states beside the RPN: some whole decoder layers of the model's own kind, then
one linear head on the last token of the question. Keys and shapes are those of the reference
implementation's `high_res_layers` and `high_res_head`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rpn_plugin.config import RpnConfig
from rpn_plugin.head_layers import DecoderLayer
from rpn_plugin.rotary import rotary_angles


class GateBranch(nn.Module):
    """`config.gate_layers` decoder layers and a head."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.gate_layers))
        self.head = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, positions: Tensor, query_index: Tensor) -> Tensor:
        """Logits float32 [batch] of "a second look is needed".

        The arguments are those of `RegionProposalNetwork.forward`.
        """
        rope = rotary_angles(positions, self.config)
        for layer in self.layers:
            hidden, _, _ = layer(hidden, rope)
        row = torch.arange(len(hidden), device=hidden.device)
        logits: Tensor = self.head(hidden[row, query_index])[:, 0].float()
        return logits
