"""Qwen2.5-VL: Qwen2 decoder layers, three rope axes (mRoPE), patches of 14 px merged 2 x 2."""

from __future__ import annotations

from rpn_plugin.families.base import BoxRules, Family, ImageGrid, RpnLayers

QWEN2_5_VL = Family(
    name="qwen2_5_vl",
    hf_architecture="Qwen2_5_VLForConditionalGeneration",
    model_type="qwen2_5_vl",
    engine_architecture="SdrpnQwen2_5_VLForConditionalGeneration",
    engine_class="rpn_plugin.engine.models.tapped:SdrpnQwen2_5_VLForConditionalGeneration",
    layers=RpnLayers(attention_bias=True, rope="mrope"),
    image=ImageGrid(cell=28, least_cells=4, max_aspect=200),
    # The released code drops boxes that its image processor would refuse.
    boxes=BoxRules(threshold=0.1, sink_grid=768, least_side=28, max_aspect=200, join=2),
)
