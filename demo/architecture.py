"""The shape of the small model: Qwen2.5-VL's architecture at about four million parameters.

Everything a checkpoint folder needs besides trained weights is made here, so that the folder is
served by stock code: configuration, tokenizer, image processor settings, chat template.
`python -m demo.architecture` writes a folder with random weights.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from demo.training.tokenizer import SPECIAL_TOKENS, build_tokenizer
from rpn_plugin.images.grids import CELL

MODEL_DIR = Path(__file__).parent / "model"
"""Where the shipped model lives."""

HIDDEN = 192
VISION_HIDDEN = 128
PATCH = 14
MERGE = 2
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}
{{ message.content }}
{%- elif message.content -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' or 'video' in part -%}
<|vision_start|><|video_pad|><|vision_end|>
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
"""Qwen2.5-VL's chat format."""


def model_config(vocabulary: dict[str, int]) -> Qwen2_5_VLConfig:
    """The configuration; `vocabulary` maps tokens to ids and must hold SPECIAL_TOKENS."""
    rope = {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [4, 6, 6]}
    end, pad = vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": HIDDEN,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": rope,
        "use_sliding_window": False,
        "bos_token_id": pad,
        "eos_token_id": end,
        "pad_token_id": pad,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 4,
        "hidden_size": VISION_HIDDEN,
        "intermediate_size": 320,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "window_size": 112,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0, 1, 2, 3],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=True,
        architectures=["Qwen2_5_VLForConditionalGeneration"],
    )


def build_model(seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """A model with random weights, float32, the same for the same seed."""
    torch.manual_seed(seed)
    config = model_config(build_tokenizer().get_vocab())
    model = Qwen2_5_VLForConditionalGeneration(config).float()
    text = config.text_config
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    return model


def save_model(model: Qwen2_5_VLForConditionalGeneration, folder: Path) -> None:
    """Writes a complete checkpoint folder that stock code serves as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
    tokenizer = build_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer.get_vocab()))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    write_json(folder / "preprocessor_config.json", _preprocessor_config())


def _tokenizer_config(vocabulary: dict[str, int]) -> dict[str, object]:
    added = {
        str(vocabulary[token]): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in SPECIAL_TOKENS
    }
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": added,
        "additional_special_tokens": [t for t in SPECIAL_TOKENS if t != "<|endoftext|>"],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 4096,
    }


def _preprocessor_config() -> dict[str, object]:
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": 4 * CELL * CELL,
        "max_pixels": 2048 * CELL * CELL,
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": list(IMAGE_MEAN),
        "image_std": list(IMAGE_STD),
    }


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Writes a folder with random weights."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_DIR)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    save_model(build_model(arguments.seed), arguments.out)


if __name__ == "__main__":
    main()
