"""LLaVA-1.5: Llama decoder layers, one rope axis, every picture on a square of 24 x 24 patches.

The picture is padded to a square with CLIP's mean colour and scaled to 336 px. The released RPN
scores with unrotated queries and keys, behind one more norm.
"""

from __future__ import annotations

from rpn_plugin.families.base import BoxRules, ComponentRules, Family, ImageGrid, RpnLayers
from rpn_plugin.families.llama import LLAMA_DEFAULTS

LLAVA = Family(
    name="llava",
    hf_architecture="LlavaForConditionalGeneration",
    model_type="llava",
    engine_architecture="SdrpnLlavaForConditionalGeneration",
    engine_class="rpn_plugin.engine.models.llava:SdrpnLlavaForConditionalGeneration",
    layers=RpnLayers(attention_bias=False, rope="sequence", score_rope=False, score_norm=True),
    image=ImageGrid(cell=14, square=24, fill=(122, 116, 104)),
    boxes=BoxRules(threshold=0.15, components=ComponentRules(noise=1, small=3, largest=225)),
    published_architecture="LlavaLlamaForCausalLM",
    published_model_type="llava_llama",
    language_defaults=LLAMA_DEFAULTS,
)
