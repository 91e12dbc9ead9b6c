"""Checkpoints in LLaVA's own layout (`LlavaLlamaForCausalLM`), as the paper's authors release them.

vLLM and transformers know LLaVA-1.5 only as Hugging Face laid it out: a nested configuration, a
tokenizer with a token for the picture, a chat template. What is missing is supplied here while the
checkpoint is loaded, so that no converted copy of it is needed:

- its flat `config.json`, of `model_type` `llava_llama` or, as LLaVA-1.5's own is, `llava`, becomes
  a `LlavaConfig` (registered with transformers' `AutoConfig`);
- `<image>`, in the original a number outside the vocabulary, becomes a token of the tokenizer
  (registered as a tokenizer mode with vLLM's `TokenizerRegistry`, as it would be by
  `--tokenizer-mode`);
- without a chat template, the conversation LLaVA-1.5 was trained on (`vicuna_v1`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, CLIPVisionConfig, LlavaConfig
from vllm.config import ModelConfig
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.hf import get_cached_tokenizer
from vllm.tokenizers.registry import TokenizerRegistry, cached_tokenizer_from_config

IMAGE_TOKEN = "<image>"
TOKENIZER_MODE = "sdrpn_llava"

_TEXT_FIELDS = (
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rms_norm_eps",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
)
_TEMPLATE = Path(__file__).parents[2] / "families" / "llava_v1.jinja"


class PublishedLlavaConfig(LlavaConfig):
    """A `LlavaConfig` read from a flat, released one; `mm_vision_tower` is a folder or a name on
    the Hub.
    """

    model_type = "llava_llama"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration of a released `config.json`, or of one that this class wrote."""
        if _is_flat(config_dict):
            config_dict = _nested(config_dict, Path(kwargs.get("name_or_path", "")))
        return super().from_dict(config_dict, **kwargs)


class EitherLlavaConfig(LlavaConfig):
    """Reads what calls itself `llava`: checkpoints in Hugging Face's layout, and the oldest in the
    original one, LLaVA-1.5's own among them, which were not yet called `llava_llama`.
    """

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A `PublishedLlavaConfig` or a `LlavaConfig`, never one of this class."""
        layout = PublishedLlavaConfig if _is_flat(config_dict) else LlavaConfig
        return layout.from_dict(config_dict, **kwargs)


def _is_flat(config_dict: dict[str, Any]) -> bool:
    return "mm_vision_tower" in config_dict and "text_config" not in config_dict


def _nested(flat: dict[str, Any], folder: Path) -> dict[str, Any]:
    _check_supported(flat)
    tower = flat["mm_vision_tower"]
    if (folder / tower).is_dir():  # relative to the checkpoint, if it is a path
        tower = str((folder / tower).resolve())
    text = {field: flat[field] for field in _TEXT_FIELDS if flat.get(field) is not None}
    return {
        "architectures": flat["architectures"],
        "model_type": PublishedLlavaConfig.model_type,
        "text_config": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **text},
        "vision_config": CLIPVisionConfig.from_pretrained(tower).to_dict(),
        "vision_feature_layer": flat["mm_vision_select_layer"],
        "image_token_index": flat["vocab_size"],
        "tie_word_embeddings": flat.get("tie_word_embeddings", False),
        "mm_vision_tower": tower,
    }


def _check_supported(flat: dict[str, Any]) -> None:
    """Refuses other members of the LLaVA line, whose pictures become tokens in another way."""
    for field, value in [
        ("mm_projector_type", "mlp2x_gelu"),
        ("mm_vision_select_feature", "patch"),
        ("image_aspect_ratio", "pad"),
        ("mm_use_im_start_end", False),
    ]:
        if flat.get(field, value) != value:
            raise ValueError(f"a LLaVA with {field} {flat[field]!r} is not LLaVA-1.5 ({value!r})")


class PublishedLlavaTokenizer:
    """Loads the tokenizer of a released checkpoint, and gives it a token for the picture."""

    @classmethod
    def from_pretrained(cls, name: str, *args: Any, download_dir: Any = None, **kwargs: Any) -> Any:
        """A tokenizer as vLLM's own `CachedHfTokenizer` makes it."""
        tokenizer = AutoTokenizer.from_pretrained(name, *args, cache_dir=download_dir, **kwargs)
        tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)
        if tokenizer.chat_template is None:
            tokenizer.chat_template = _TEMPLATE.read_text()
        return get_cached_tokenizer(tokenizer)


def register() -> None:
    """Make the layout known to transformers and vLLM; harmless when called again."""
    for layout in (PublishedLlavaConfig, EitherLlavaConfig):
        AutoConfig.register(layout.model_type, layout, exist_ok=True)
    if TOKENIZER_MODE not in TokenizerRegistry.tokenizers:
        TokenizerRegistry.register(TOKENIZER_MODE, __name__, PublishedLlavaTokenizer.__name__)
        RENDERER_REGISTRY.register(TOKENIZER_MODE, "vllm.renderers.hf", "HfRenderer")


def complete(model_config: ModelConfig) -> None:
    """Give a released LLaVA its tokenizer, and its configuration that tokenizer's `<image>`."""
    if not isinstance(model_config.hf_config, PublishedLlavaConfig):
        return
    model_config.tokenizer_mode = TOKENIZER_MODE
    tokenizer = cached_tokenizer_from_config(model_config)
    if tokenizer is not None:
        image_token = tokenizer.get_vocab()[IMAGE_TOKEN]
        model_config.hf_config.image_token_index = image_token
