"""The shape of the small LLaVA: a CLIP tower, an MLP, a Llama; three million parameters.

Everything a checkpoint folder needs besides trained weights is made here, so that stock code serves
the folder. Words, chat format and text model are those of the model that ships, but for what Llama
has otherwise: one rope axis, no biases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from demo.architecture import (
    CHAT_TEMPLATE,
    HIDDEN,
    IMAGE_MEAN,
    IMAGE_STD,
    answer_greedily,
    save_weights,
    write_json,
)
from demo.tokenizer import build_tokenizer

SIDE = 8
"""Visual tokens on a side of every view."""
CELL = 14
"""Pixels on a side of one."""

IMAGE_TOKEN = "<|image_pad|>"


def model_config(vocabulary: dict[str, int]) -> LlavaConfig:
    """The configuration; `vocabulary` maps tokens to ids."""
    end, pad = vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]
    text = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": len(vocabulary),
        "hidden_size": HIDDEN,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10.0},
        "bos_token_id": pad,
        "eos_token_id": end,
        "pad_token_id": pad,
        "tie_word_embeddings": True,
    }
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "image_size": SIDE * CELL,
        "patch_size": CELL,
        "projection_dim": HIDDEN,
    }
    return LlavaConfig(
        text_config=text,
        vision_config=vision,
        vision_feature_layer=-1,
        image_token_index=vocabulary[IMAGE_TOKEN],
        image_seq_length=SIDE * SIDE,
        tie_word_embeddings=True,
        architectures=["LlavaForConditionalGeneration"],
    )


def build_model(seed: int) -> Any:
    """A `LlavaForConditionalGeneration` with random weights, float32, the same for a seed."""
    torch.manual_seed(seed)
    config = model_config(build_tokenizer().get_vocab())
    model: Any = LlavaForConditionalGeneration(config).float()
    answer_greedily(model)
    return model


def save_model(model: Any, folder: Path) -> None:
    """Writes a complete checkpoint folder that stock code serves as it is."""
    save_weights(model, folder, CHAT_TEMPLATE)
    side = {"height": SIDE * CELL, "width": SIDE * CELL}
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "size": {"shortest_edge": SIDE * CELL},
            "crop_size": side,
            "image_mean": list(IMAGE_MEAN),
            "image_std": list(IMAGE_STD),
        },
    )
    write_json(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "patch_size": CELL,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
            "image_token": IMAGE_TOKEN,
        },
    )
