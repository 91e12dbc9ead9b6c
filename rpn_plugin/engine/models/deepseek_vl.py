"""DeepSeek-VL with a tap, for both of its picture encoders: vLLM has no model of its own for it.

A model class out of vLLM's tree, of two halves. The language model is vLLM's Llama, with its paged
attention and its compilation, and with the states after a layer (`SupportsEagle3`). The picture
half is Hugging Face's, as it stands: SigLIP (1.3B, `deepseek_vl`), or SigLIP beside SAM
(7B, `deepseek_vl_hybrid`), each with its aligner. Checkpoints in Hugging Face's layout are read.

Rests on vLLM's `BaseLlavaMultiModalProcessor`: like LLaVA's, a picture here is one placeholder that
becomes a fixed number of tokens.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers import AutoModel, BatchFeature
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import (
    MultiModalEmbeddings,
    SupportsEagle3,
    SupportsMultiModal,
)
from vllm.model_executor.models.llava import (
    BaseLlavaMultiModalProcessor,
    BaseLlavaProcessingInfo,
    LlavaDummyInputsBuilder,
)
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageSize
from vllm.sequence import IntermediateTensors

from rpn_plugin.engine.models.tapped import TapMixin

PLACEHOLDER = "<image_placeholder>"


class DeepseekVLInfo(BaseLlavaProcessingInfo):
    """What a picture becomes: as many tokens as SigLIP has patches."""

    def get_hf_config(self) -> Any:
        """Of either encoder. LLaVA's classes ask for the placeholder under LLaVA's name."""
        config = self.ctx.get_hf_config()
        config.image_token_index = config.image_token_id
        return config

    def get_hf_processor(self, **kwargs: object) -> Any:
        """Hugging Face's own."""
        return self.ctx.get_hf_processor(**kwargs)

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        """Every picture is a square of patches."""
        vision = self.get_hf_config().vision_config
        return int(vision.image_size // vision.patch_size) ** 2

    def get_image_size_with_most_features(self) -> ImageSize:
        """Any: they all have as many."""
        side = self.get_hf_config().vision_config.image_size
        return ImageSize(width=side, height=side)


class DeepseekVLProcessor(BaseLlavaMultiModalProcessor[DeepseekVLInfo]):
    """Calls Hugging Face's processor, which makes pixels for one encoder or for both."""

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "pixel_values": MultiModalFieldConfig.batched("image"),
            "high_res_pixel_values": MultiModalFieldConfig.batched("image"),
        }


class DeepseekVLForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsEagle3):
    """The model without a tap."""

    vision: Any
    language_model: Any

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_regex={
            # SigLIP is saved with and without the name of its one part; its head is not used.
            re.compile(r"^model\.vision_model\.(vision_model\.)?head\..*"): None,
            re.compile(r"^model\.vision_model\.(vision_model\.)?"): "vision.vision_model.",
        },
        orig_to_new_prefix={
            "model.language_model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
            "model.": "vision.",
        },
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for a picture where the chat template has no place for it."""
        return PLACEHOLDER

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: Any = vllm_config.model_config.hf_config
        self.config = config
        this: Any = self  # mypy sees nothing of what vLLM's interfaces bring
        this.configure_mm_token_handling(config.text_config.vocab_size, [config.image_token_id])
        with this._mark_tower_model(vllm_config, "image"):
            self.vision = _picture_half(config).to(vllm_config.model_config.dtype)
        with this._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=["LlamaForCausalLM"],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(self, **pixels: Any) -> MultiModalEmbeddings:
        """Visual tokens [pictures, tokens, hidden] of pixels [pictures, 3, side, side]."""
        if not pixels:
            return []
        return self.vision.get_image_features(**pixels).pooler_output

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's: its output and the states asked for."""
        return self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Of the next token."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """From a checkpoint in Hugging Face's layout."""
        loader = AutoWeightsLoader(self)
        loaded: set[str] = loader.load_weights(weights, mapper=self.hf_to_vllm_mapper)
        return loaded


def _picture_half(config: Any) -> nn.Module:
    """Hugging Face's model of this configuration, without its language model."""
    own = copy.deepcopy(config)
    own.vision_config.vision_use_head = False
    # The least Llama there is; the width is the aligner's.
    own.text_config.num_hidden_layers, own.text_config.vocab_size = 0, 1
    own.text_config.pad_token_id = None
    model: nn.Module = AutoModel.from_config(own)
    del model.language_model
    return model.requires_grad_(False).eval()


@MULTIMODAL_REGISTRY.register_processor(
    DeepseekVLProcessor, info=DeepseekVLInfo, dummy_inputs=LlavaDummyInputsBuilder
)
class SdrpnDeepseekVLForConditionalGeneration(TapMixin, DeepseekVLForConditionalGeneration):
    """DeepSeek-VL with a tap."""
