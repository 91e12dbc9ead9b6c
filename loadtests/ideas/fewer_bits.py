"""Tapped states in eight bits: what it would give back of the cache, and what it does to regions.

Dense, in float32, with the shipped model and RPN, on pages that training never saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo.eval import EVAL_SEED
from demo.fidelity import MODEL, Dense
from demo.pages import render_page
from demo.questions import code_question
from loadtests.compare.shapes import SHAPES
from rpn_plugin.engine.packing import row_size
from rpn_plugin.roi import Region, regions_from_map
from server.pictures import Picture
from server.viewing import base_view

_PAGES_A_ROUND = 10


def _bfloat16(states: Tensor) -> Tensor:
    return states.bfloat16().float()


def _int8(states: Tensor) -> Tensor:
    """One scale a token."""
    scale = states.abs().amax(-1, keepdim=True) / 127
    return (states / scale).round() * scale


def _float8(states: Tensor) -> Tensor:
    scale = states.abs().amax(-1, keepdim=True) / 448
    return (states / scale).to(torch.float8_e4m3fn).float() * scale


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "bfloat16": _bfloat16,
    "int8": _int8,
    "float8 e4m3": _float8,
}


@dataclass(frozen=True)
class _Difference:
    largest: float
    overlap: float


def measure(rounds: int) -> None:
    """Cache capacity on paper; maps and regions on ten pages a round."""
    for name in ("qwen2.5-vl-3b", "qwen2.5-vl-7b"):
        shape = SHAPES[name]
        keys_values = 2 * shape.layers * shape.kv_heads * shape.head_dim * 2
        tap = row_size(shape.hidden, torch.bfloat16) * 2
        eight = shape.hidden + 16 + 4
        with_tap, with_eight = keys_values + tap, keys_values + eight
        print(
            f"{name}: a token's keys and values {keys_values} bytes, its tap {tap} "
            f"({-tap / with_tap:.1%} capacity); in eight bits {eight} "
            f"({-eight / with_eight:.1%}): {with_tap / with_eight - 1:+.1%} tokens"
        )
    exact = Dense(MODEL)
    for name, kind in KINDS.items():
        rounded = Dense(MODEL)
        rounded._rpn.register_forward_pre_hook(partial(_round, kind))
        found = [_difference(exact, rounded, page) for page in range(rounds * _PAGES_A_ROUND)]
        overlaps = [one.overlap for one in found]
        print(
            f"{name:12} {len(found)} pages: a logit differs by up to "
            f"{max(one.largest for one in found):.4f}; regions overlap {np.mean(overlaps):.4f} "
            f"in the mean, {min(overlaps):.3f} at least"
        )


def _round(kind: Callable[[Tensor], Tensor], _: Any, arguments: tuple[Tensor, ...]) -> Any:
    states, *others = arguments
    return kind(states), *others


@torch.inference_mode()
def _difference(exact: Dense, rounded: Dense, number: int) -> _Difference:
    page = render_page(EVAL_SEED, number)
    asked = page.things[page.asked]
    view = base_view(Picture(page.image, str(number)), exact.config.base_tokens)
    question = code_question(page.kind, asked.name)
    maps = [dense.map(view, question) for dense in (exact, rounded)]
    first, second = (
        regions_from_map(m, page.image.size, threshold=exact.config.threshold, max_regions=1)
        for m in maps
    )
    return _Difference(float(np.abs(maps[0] - maps[1]).max()), _overlap(first, second))


def _overlap(first: list[Region], second: list[Region]) -> float:
    """Intersection over union; 1 where neither has a region."""
    if not first or not second:
        return float(len(first) == len(second))
    a, b = first[0].box, second[0].box
    width, height = (min(a[n + 2], b[n + 2]) - max(a[n], b[n]) for n in (0, 1))
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return float(shared / (areas - shared))
