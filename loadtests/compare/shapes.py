"""Model folders of a given size without weights, served with vLLM's `--load-format dummy`.

A shape is a `config.json` of the Qwen2.5-VL architecture with an RPN's configuration beside it; the
tokenizer, chat template and image processor are the shipped model's. Weights are random: regions
are forced, and no answer is correct.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpn_plugin.network.config import RpnConfig
from server.shipped_model import SHIPPED_MODEL

_TAKEN_OVER = ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "*.jinja")
_SHIPPED_VOCABULARY = 393


@dataclass(frozen=True)
class Shape:
    """Sizes of the language model, of the vision tower, and of the RPN (tap layer B, depth R)."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vision_hidden: int
    vision_intermediate: int
    vision_layers: int
    vision_heads: int
    vision_full_attention: tuple[int, ...]
    tap_layer: int
    rpn_depth: int
    vocabulary: int = _SHIPPED_VOCABULARY
    tied: bool = False

    @property
    def head_dim(self) -> int:
        """Of the language model's heads."""
        return self.hidden // self.heads


SHAPES = {
    # For tests: the smallest sizes that the CPU's kernels take.
    "tiny": Shape(128, 256, 4, 4, 2, 64, 128, 2, 2, (1,), 2, 2, vocabulary=152_064),
    # The largest whose prompts a CPU core prefills in well under a second. As in the released ones
    # the language model has about two thirds of a visual token's work; the tap is half way up.
    "medium": Shape(768, 2048, 10, 6, 2, 384, 1024, 4, 6, (1, 3), 5, 2),
    "qwen2.5-vl-3b": Shape(
        *(2048, 11_008, 36, 16, 2),
        *(1280, 3420, 32, 16, (7, 15, 23, 31)),
        *(18, 3),
        vocabulary=151_936,
        tied=True,
    ),
    "qwen2.5-vl-7b": Shape(
        *(3584, 18_944, 28, 28, 4),
        *(1280, 3420, 32, 16, (7, 15, 23, 31)),
        *(14, 3),
        vocabulary=152_064,
    ),
}


def write_model(shape: Shape, folder: Path) -> Path:
    """A model folder of that shape, with an RPN's configuration in it; `folder` itself."""
    (folder / "rpn").mkdir(parents=True, exist_ok=True)
    for pattern in _TAKEN_OVER:
        for file in SHIPPED_MODEL.glob(pattern):
            shutil.copy(file, folder / file.name)
    config = model_config(shape)
    _write(folder / "config.json", config)
    rpn = RpnConfig.for_model(config, tap_layer=shape.tap_layer, depth=shape.rpn_depth)
    _write(folder / "rpn" / "rpn_config.json", rpn.to_dict())
    return folder


def model_config(shape: Shape) -> dict[str, Any]:
    """The `config.json`."""
    shipped: dict[str, Any] = json.loads((SHIPPED_MODEL / "config.json").read_text())
    quarter = shape.head_dim // 8
    text = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "tie_word_embeddings": shape.tied,
        "layer_types": ["full_attention"] * shape.layers,
        "max_position_embeddings": 32_768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1_000_000.0,
            "mrope_section": [quarter, *_halves(shape.head_dim // 2 - quarter)],
        },
    }
    vision = {
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_intermediate,
        "depth": shape.vision_layers,
        "num_heads": shape.vision_heads,
        "fullatt_block_indexes": list(shape.vision_full_attention),
        "out_hidden_size": shape.hidden,
    }
    return {
        **shipped,
        "tie_word_embeddings": shape.tied,
        "text_config": {**shipped["text_config"], **text},
        "vision_config": {**shipped["vision_config"], **vision},
    }


def _halves(count: int) -> Sequence[int]:
    return (count + 1) // 2, count // 2


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
