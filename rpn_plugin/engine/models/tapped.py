"""vLLM's models with a tap: the same model, whose every forward also writes the tapped states.

Rests on the EAGLE-3 interface (`SupportsEagle3.set_aux_hidden_state_layers`): asked for it, the
decoder returns the hidden states after layer B, residual included, beside its output. The tap is
written here, outside the compiled decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.model_loader.weight_utils import default_weight_loader
from vllm.model_executor.models.interfaces import SupportsEagle3
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration
from vllm.sequence import IntermediateTensors

from rpn_plugin.compat import CompatibilityError
from rpn_plugin.engine.models.tap import TapLayer
from rpn_plugin.engine.start_check import rpn_folder
from rpn_plugin.network.checkpoint import (
    load_gate,
    load_rpn,
    load_rpn_config,
)
from rpn_plugin.network.layouts import is_published_rpn_tensor


class TapMixin(SupportsEagle3):
    """Adds the tap to the vLLM model that follows it among a class's bases."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._rpn_folder = rpn_folder(vllm_config.model_config.hf_config)
        config = load_rpn_config(self._rpn_folder)
        super().set_aux_hidden_state_layers((config.tap_layer,))
        self.tap = TapLayer(vllm_config, config)

    def set_aux_hidden_state_layers(self, layers: tuple[int, ...]) -> None:
        """The tap holds the one set of auxiliary layers that a model has."""
        raise CompatibilityError("EAGLE-3 speculative decoding cannot be combined with the tap")

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The model's own output; the states of all its tokens are in the tap afterwards."""
        output: Tensor
        output, (tapped,) = super().forward(
            input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs
        )
        self.tap(tapped, positions)
        return output

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """The model's weights from `weights`, the RPN's and its gate's from their folder."""
        own = ((name, tensor) for name, tensor in weights if not is_published_rpn_tensor(name))
        loaded = set(super().load_weights(own))
        _load(self.tap.rpn, load_rpn(self._rpn_folder))
        if self.tap.gate and (gate := load_gate(self._rpn_folder)):
            _load(self.tap.gate, gate)
        self.tap.weights_version += 1
        return loaded | {f"tap.{name}" for name, _ in self.tap.named_parameters()}


def _load(module: nn.Module, stored: nn.Module) -> None:
    """Each parameter through its own loader: vLLM's `reload_weights` counts and places by those."""
    tensors = stored.state_dict()
    for name, parameter in module.named_parameters():
        load = getattr(parameter, "weight_loader", default_weight_loader)
        load(parameter, tensors[name])


class SdrpnQwen2_5_VLForConditionalGeneration(TapMixin, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL with a tap."""


class SdrpnQwen3VLForConditionalGeneration(TapMixin, Qwen3VLForConditionalGeneration):
    """Qwen3-VL with a tap."""
