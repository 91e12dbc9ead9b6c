"""Prices of a GPU on paper: published peak figures and shapes, and an assumed share of the peak. No
GPU was at hand. (What a CPU's tokens cost, `python -m loadtests.compare` fits to what it measures.)
"""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.compare.shapes import SHAPES, Shape
from loadtests.scaling.costs import Prices


@dataclass(frozen=True)
class Gpu:
    """Published peaks, dense bf16; and the shares of them that are assumed to be reached."""

    name: str
    flops: float
    bytes_per_second: float
    flops_share: float = 0.45
    bytes_share: float = 0.7


H100 = Gpu("H100 SXM (data sheet: 989 TFLOP/s dense bf16, 3.35 TB/s)", 989e12, 3.35e12)


def on_paper(gpu: Gpu, shape: Shape, at_once: int = 64, context: int = 1500) -> Prices:
    """A multiplication and an addition for each weight and token; decoding reads all weights once a
    step for `at_once` requests, and each one's keys and values of `context` tokens.
    """
    kv = shape.kv_heads * shape.head_dim
    mlp = 3 * shape.hidden * shape.intermediate
    layer = 2 * shape.hidden**2 + 2 * shape.hidden * kv + mlp
    weights = shape.layers * layer
    patch = shape.vision_layers * (
        4 * shape.vision_hidden**2 + 3 * shape.vision_hidden * shape.vision_intermediate
    )
    merged = 4 * shape.vision_hidden
    visual_token = 4 * patch + merged * merged + merged * shape.hidden
    rpn = (shape.rpn_depth - 1) * layer + shape.hidden * kv
    flops, traffic = gpu.flops * gpu.flops_share, gpu.bytes_per_second * gpu.bytes_share
    head = shape.hidden * shape.vocabulary
    cached = 2 * shape.layers * kv * 2 * context
    return Prices(
        name=gpu.name,
        a_pass=0.0,
        encode=2 * visual_token / flops,
        prefill=2 * weights / flops,
        decode=(2 * (weights + head) / at_once + cached) / traffic,
        rpn=2 * rpn / flops,
    )


PAPER_GPU = on_paper(H100, SHAPES["qwen2.5-vl-7b"])
