"""Qwen3-VL: Qwen3 decoder layers (normed queries and keys, no biases), three rope axes that take
turns, patches of 16 px merged 2 x 2.

The vision tower also adds features of its middle layers to the language model's first layers
("deepstack"). vLLM adds them before it hands out the states after a layer, so the tap needs nothing
of its own for them.
"""

from __future__ import annotations

from rpn_plugin.families.base import BoxRules, Family, ImageGrid, RpnLayers

QWEN3_VL = Family(
    name="qwen3_vl",
    hf_architecture="Qwen3VLForConditionalGeneration",
    model_type="qwen3_vl",
    engine_architecture="SdrpnQwen3VLForConditionalGeneration",
    engine_class="rpn_plugin.engine.models.tapped:SdrpnQwen3VLForConditionalGeneration",
    layers=RpnLayers(attention_bias=False, rope="interleaved_mrope", query_key_norm=True),
    # The processor that Qwen publishes enlarges pictures of fewer than 256 x 256 px.
    image=ImageGrid(cell=32, least_cells=64, max_aspect=200),
    # No RPN has been released: the rules are Qwen2.5-VL's, for a larger cell.
    boxes=BoxRules(threshold=0.1, sink_grid=768, least_side=32, max_aspect=200, join=2),
)
