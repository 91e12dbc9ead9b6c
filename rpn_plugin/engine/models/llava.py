"""LLaVA-1.5 with a tap, in Hugging Face's layout and in the released one.

Rests on vLLM's `LlavaForConditionalGeneration`, its `LlavaProcessingInfo`, and the default loader's
`secondary_weights`. A released checkpoint (`llava_layout.py`) holds neither the vision tower nor a
picture processor: both come from the tower it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from transformers import CLIPImageProcessor
from vllm.config import VllmConfig
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import InputProcessingContext

from rpn_plugin.engine.models.llava_layout import IMAGE_TOKEN, PublishedLlavaConfig
from rpn_plugin.engine.models.tapped import TapMixin

_TOWER = "vision_tower."
# transformers 5 saves the tower's weights without the name of its one part.
_TOWER_AS_VLLM_HAS_IT = WeightsMapper(
    orig_to_new_regex={
        re.compile(
            r"^(model\.)?vision_tower\.(?=embeddings|encoder|pre_layrnorm|post_layernorm)"
        ): "vision_tower.vision_model."
    }
)
_RELEASED = _TOWER_AS_VLLM_HAS_IT | WeightsMapper(
    # A CLIP that was published whole has a text model too.
    orig_to_new_substr={"position_ids": None},
    orig_to_new_prefix={
        "vision_tower.text_": None,
        "vision_tower.visual_projection.": None,
        "vision_tower.logit_scale": None,
        "model.vision_tower.vision_tower.": _TOWER,
        "model.mm_projector.0.": "multi_modal_projector.linear_1.",
        "model.mm_projector.2.": "multi_modal_projector.linear_2.",
        "model.": "language_model.model.",
    },
)


class PublishedLlavaInfo(LlavaProcessingInfo):
    """Processing for a released checkpoint: the tower's own picture processor, and no other."""

    def get_hf_processor(self, **kwargs: object) -> Any:
        """CLIP's picture processor; the text is tokenised elsewhere."""
        processor = CLIPImageProcessor.from_pretrained(self.get_hf_config().mm_vision_tower)
        processor.image_token = IMAGE_TOKEN
        return processor


def _info(context: InputProcessingContext) -> LlavaProcessingInfo:
    published = isinstance(context.model_config.hf_config, PublishedLlavaConfig)
    return PublishedLlavaInfo(context) if published else LlavaProcessingInfo(context)


@MULTIMODAL_REGISTRY.register_processor(
    LlavaMultiModalProcessor, info=_info, dummy_inputs=LlavaDummyInputsBuilder
)
class SdrpnLlavaForConditionalGeneration(TapMixin, LlavaForConditionalGeneration):
    """LLaVA-1.5 with a tap."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._published = isinstance(self.config, PublishedLlavaConfig)
        if self._published:
            tower = DefaultModelLoader.Source(self.config.mm_vision_tower, None, prefix=_TOWER)
            self.secondary_weights = [tower]

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads weights of either layout."""
        return super().load_weights(renamed(weights, self._published))


def renamed(weights: Iterable[tuple[str, Tensor]], published: bool) -> Iterator[tuple[str, Tensor]]:
    """The weights of a checkpoint in the released or in Hugging Face's layout, under names that
    vLLM's model knows.

    A released checkpoint that was trained with its tower brings its own tower, which comes before
    the one it names.
    """
    names = _RELEASED if published else _TOWER_AS_VLLM_HAS_IT
    seen: set[str] = set()
    for stored, tensor in weights:
        name = names.map_name(stored)
        if name is not None and name not in seen:
            seen.add(name)
            yield name, tensor
