"""DeepSeek-VL with its SigLIP encoder (1.3B): Llama decoder layers, one rope axis, every picture on
a square of 24 x 24 patches of 16 px, beside grey.
"""

from __future__ import annotations

from rpn_plugin.families.base import BoxRules, Family, ImageGrid, RpnLayers
from rpn_plugin.families.llama import LLAMA_DEFAULTS

DEEPSEEK_VL = Family(
    name="deepseek_vl",
    hf_architecture="DeepseekVLForConditionalGeneration",
    model_type="deepseek_vl",
    engine_architecture="SdrpnDeepseekVLForConditionalGeneration",
    engine_class="rpn_plugin.engine.deepseek_vl:SdrpnDeepseekVLForConditionalGeneration",
    layers=RpnLayers(attention_bias=False, rope="sequence"),
    image=ImageGrid(cell=16, square=24, fill=(127, 127, 127)),
    boxes=BoxRules(threshold=0.1, least_side=16, max_aspect=200, join=2),
    language_defaults=LLAMA_DEFAULTS,
)
