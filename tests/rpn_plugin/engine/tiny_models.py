"""Tiny models with random weights, of families whose shipped model there is none of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DeepseekVLConfig,
    DeepseekVLForConditionalGeneration,
    DeepseekVLHybridConfig,
    DeepseekVLHybridForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from rpn_plugin.families import Family
from rpn_plugin.network.checkpoint import save_rpn
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.rpn import RegionProposalNetwork
from tests.rpn_plugin.engine.tiny_tokenizers import LLAMA_SPECIAL, QWEN_SPECIAL, save_tokenizer

_LANGUAGE = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
}
_VISION = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.1}
IMAGE_TOKEN = 511
DEEPSEEK_IMAGE = "<image_placeholder>"
_SIGLIP = {
    **_VISION,
    "model_type": "siglip_vision_model",
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 384,
    "patch_size": 16,
}


def save_qwen3_vl(folder: Path) -> None:
    """A Qwen3-VL whose deepstack features enter the first two layers, the tap's among them."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5]}
    config = Qwen3VLConfig(
        text_config={**_LANGUAGE, "rope_parameters": {**rope, "mrope_interleaved": True}},
        vision_config={
            **_VISION,
            "depth": 3,
            "num_heads": 4,
            "out_hidden_size": 128,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        vision_start_token_id=500,
        vision_end_token_id=501,
        image_token_id=503,
        video_token_id=504,
    )
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    pixels = {
        "patch_size": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"shortest_edge": 4 * 32 * 32, "longest_edge": 256 * 32 * 32},
    }
    _write(
        folder / "preprocessor_config.json",
        {"image_processor_type": "Qwen2VLImageProcessorFast", **pixels},
    )
    _write(
        folder / "video_preprocessor_config.json",
        {"video_processor_type": "Qwen3VLVideoProcessor", **pixels},
    )
    save_tokenizer(folder, QWEN_SPECIAL)


def save_llava(folder: Path) -> None:
    """A LLaVA-1.5 in Hugging Face's layout."""
    config = LlavaConfig(
        text_config={"model_type": "llama", **_LANGUAGE},
        vision_config={
            "model_type": "clip_vision_model",
            **_VISION,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 336,
            "patch_size": 14,
            "projection_dim": 64,
        },
        image_token_index=IMAGE_TOKEN,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 336, "width": 336}
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 336},
            "crop_size": size,
            "processor_class": "LlavaProcessor",
        },
    )
    _write(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
            "image_token": "<image>",
        },
    )
    save_tokenizer(folder, {**LLAMA_SPECIAL, IMAGE_TOKEN: "<image>"})


def save_deepseek_vl(folder: Path) -> None:
    """A DeepSeek-VL with SigLIP alone, as the 1.3B."""
    config = DeepseekVLConfig(
        text_config={"model_type": "llama", **_LANGUAGE},
        vision_config=_SIGLIP,
        image_token_id=IMAGE_TOKEN,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    DeepseekVLForConditionalGeneration(config).save_pretrained(folder)
    _save_deepseek_processor(folder, "DeepseekVL")


def save_deepseek_vl_hybrid(folder: Path) -> None:
    """A DeepSeek-VL with SAM beside SigLIP, as the 7B; SAM sees 512 px here, not 1024."""
    config = DeepseekVLHybridConfig(
        text_config={"model_type": "llama", **_LANGUAGE},
        vision_config=_SIGLIP,
        high_res_vision_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "output_channels": 16,
            "image_size": 512,
            "global_attn_indexes": [1],
        },
        image_token_id=IMAGE_TOKEN,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = DeepseekVLHybridForConditionalGeneration(config)
    model.model.high_res_vision_alpha.data.fill_(
        0.5
    )  # fresh from its class, a part is switched off
    model.save_pretrained(folder)
    _save_deepseek_processor(
        folder, "DeepseekVLHybrid", high_res_size={"height": 512, "width": 512}
    )


def _save_deepseek_processor(folder: Path, kind: str, **sizes: Any) -> None:
    pixels = {
        "size": {"height": 384, "width": 384},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    _write(
        folder / "preprocessor_config.json",
        {"image_processor_type": f"{kind}ImageProcessor", **pixels, **sizes},
    )
    _write(folder / "processor_config.json", {"processor_class": f"{kind}Processor"})
    save_tokenizer(folder, {**LLAMA_SPECIAL, IMAGE_TOKEN: DEEPSEEK_IMAGE}, image=DEEPSEEK_IMAGE)


def save_random_rpn(model: Path, family: Family, folder: Path) -> None:
    """An RPN of depth 3 after layer 2, with scores of size 1 and more."""
    hf_config: dict[str, Any] = json.loads((model / "config.json").read_text())
    torch.manual_seed(0)
    config = RpnConfig.for_model(hf_config, tap_layer=2, depth=3, family=family)
    rpn = RegionProposalNetwork(config)
    for name, parameter in rpn.named_parameters():
        if name.startswith("layers.2.self_attn") and name.endswith("proj.weight"):
            parameter.data *= 3
    save_rpn(rpn, folder)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values))
