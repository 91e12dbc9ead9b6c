"""Qwen2.5-VL: Qwen2 decoder layers, three rope axes (mRoPE), patches of 14 px merged 2 x 2."""

from __future__ import annotations

from rpn_plugin.families.base import Family

QWEN2_5_VL = Family(
    name="qwen2_5_vl",
    hf_architecture="Qwen2_5_VLForConditionalGeneration",
    model_type="qwen2_5_vl",
    engine_architecture="SdrpnQwen2_5_VLForConditionalGeneration",
    engine_class="rpn_plugin.engine.model:SdrpnQwen2_5_VLForConditionalGeneration",
    cell=28,
    attention_bias=True,
)
