"""DeepSeek-VL with a tap, on vLLM's Transformers backend: vLLM has no model of its own for it.

Rests on `TransformersMultiModalForCausalLM` (vllm.model_executor.models.transformers), which runs
Hugging Face's model with vLLM's attention and hands out hidden states like vLLM's own models. It
asks a processor how many tokens a picture becomes; DeepSeek-VL's (transformers 5.19) does not say,
so it is said here.
"""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models.transformers import TransformersMultiModalForCausalLM
from vllm.model_executor.models.transformers.multimodal import (
    MultiModalDummyInputsBuilder,
    MultiModalProcessingInfo,
    MultiModalProcessor,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from rpn_plugin.engine.model import Tapped


class DeepseekVLInfo(MultiModalProcessingInfo):
    """Every picture becomes as many tokens as its processor's configuration says."""

    def _get_num_mm_tokens(self, **sizes: Any) -> dict[str, list[int]]:
        pictures = len(sizes["image_sizes"])
        tokens = self.get_hf_processor().num_image_tokens
        return {"num_image_tokens": [tokens] * pictures, "num_image_patches": [1] * pictures}


@MULTIMODAL_REGISTRY.register_processor(
    MultiModalProcessor, info=DeepseekVLInfo, dummy_inputs=MultiModalDummyInputsBuilder
)
class SdrpnDeepseekVLForConditionalGeneration(Tapped, TransformersMultiModalForCausalLM):
    """DeepSeek-VL with a tap."""
