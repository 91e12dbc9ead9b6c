"""Attention weights of a prompt's last token, in the model's layer behind the tap.

vLLM's attention kernels keep no weights. The tap holds the input of that layer for every token; the
layer's norm and its query and key projections, read from the model's own files, recompute them: for
each head the softmax over all tokens of the prompt, then the mean over heads.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.layers import ScoreLayer
from rpn_plugin.network.rotary import rotary_angles


class LayerAttention(nn.Module):
    """The attention of one layer, with the shapes of an RPN made for its model."""

    def __init__(self, config: RpnConfig) -> None:
        super().__init__()
        self.config = config
        # The RPN's last layer has exactly the parts needed: norm, queries and keys.
        self.layer = ScoreLayer(config).requires_grad_(False)

    def load(self, model: str) -> None:
        """Take layer B's weights from the folder `model`. CompatibilityError if it has none."""
        prefix = f"layers.{self.config.tap_layer}."
        for name, parameter in self.layer.named_parameters():
            parameter.copy_(_tensor(Path(model), prefix + name))

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Weights float32 [seq] of the last token of states [seq, hidden_size], whose rope
        positions are int [3, seq].
        """
        rope = rotary_angles(positions[:, None], self.config)
        normed = self.layer.input_layernorm(hidden[None])
        attention = self.layer.self_attn
        query, key = attention.query(normed, rope), attention.key(normed, rope)
        groups = query.shape[1] // key.shape[1]
        keys = key.float().repeat_interleave(groups, dim=1)
        scores = torch.einsum("bhd,bhsd->bhs", query[:, :, -1].float(), keys)
        weights = torch.softmax(scores / math.sqrt(self.config.head_dim), dim=-1)
        return weights.mean(dim=(0, 1))


def _tensor(folder: Path, ending: str) -> Tensor:
    """The language model's tensor whose name ends so, from the folder's weights."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dict
                if name.endswith(f".{ending}") and "visual" not in name:
                    tensor: Tensor = weights.get_tensor(name)
                    return tensor
    raise CompatibilityError(f"no weights {ending} in the folder {folder}")
