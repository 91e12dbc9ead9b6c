"""DeepSeek-VL: Llama decoder layers, one rope axis, every picture on a square of 24 x 24 tokens.

The 1.3B sees pictures with SigLIP, at 384 px; the 7B with SAM beside it, at 1024 px, whose features
are brought onto SigLIP's grid. The processor pads a picture to a square with grey.
"""

from __future__ import annotations

from dataclasses import replace

from rpn_plugin.families.base import BoxRules, Family, ImageGrid, RpnLayers
from rpn_plugin.families.llama import LLAMA_DEFAULTS

DEEPSEEK_VL = Family(
    name="deepseek_vl",
    hf_architecture="DeepseekVLForConditionalGeneration",
    model_type="deepseek_vl",
    engine_architecture="SdrpnDeepseekVLForConditionalGeneration",
    engine_class="rpn_plugin.engine.models.deepseek_vl:SdrpnDeepseekVLForConditionalGeneration",
    layers=RpnLayers(attention_bias=False, rope="sequence"),
    image=ImageGrid(cell=16, square=24, fill=(127, 127, 127)),
    # No RPN has been released: the rules are Qwen2.5-VL's.
    boxes=BoxRules(threshold=0.1, least_side=16, max_aspect=200, join=2),
    language_defaults=LLAMA_DEFAULTS,
)

DEEPSEEK_VL_HYBRID = replace(
    DEEPSEEK_VL,
    name="deepseek_vl_hybrid",
    hf_architecture="DeepseekVLHybridForConditionalGeneration",
    model_type="deepseek_vl_hybrid",
    engine_architecture="SdrpnDeepseekVLHybridForConditionalGeneration",
    # 24 cells of 43 px are the least that have all of SAM's 1024.
    image=ImageGrid(cell=43, square=24, fill=(127, 127, 127)),
)
