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
from rpn_plugin.network.rpn import Prefix, run_layers, split_prefix


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
        return self._run(hidden, positions, query_index, None)[0]

    def extend(
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, prefix: Prefix | None
    ) -> tuple[Tensor, Tensor]:
        """`forward` for tokens that follow those of `prefix`, and the new tokens' rows for a
        later prefix; as `RegionProposalNetwork.extend`.
        """
        logits, rows = self._run(hidden, positions, query_index, prefix)
        return logits, torch.cat(rows, dim=-1)

    def _run(
        self, hidden: Tensor, positions: Tensor, query_index: Tensor, prefix: Prefix | None
    ) -> tuple[Tensor, list[Tensor]]:
        rope = rotary_angles(positions, self.config)
        mask = None if prefix is None else prefix.mask(hidden.shape[1])
        cached = split_prefix(prefix, 2 * len(self.layers), self.config.head_dim)
        hidden, rows = run_layers(self.layers, hidden, rope, mask, cached)
        row = torch.arange(len(hidden), device=hidden.device)
        return self.head(hidden[row, query_index])[:, 0].float(), rows


def row_size(config: RpnConfig) -> int:
    """Elements of one token's row in the prefix cache of the gate."""
    return 2 * config.gate_layers * config.num_key_value_heads * config.head_dim
