"""The size of vLLM's encoder cache: base views stay encoded until pass 2.

Prefixes are shared in whole cache blocks, so pass 2 computes the last tokens of its base view again
(less than a block) and needs the encoder output of the view. vLLM's `EncoderCacheManager` keeps as
many tokens as one step may have. With more chats between their passes than fit, every base view
would be encoded twice.
"""

from __future__ import annotations

from vllm.config import ModelConfig, VllmConfig

ENCODER_CACHE_MIB = 256
"""The encoder cache of each GPU; vLLM's memory profile includes only one step's outputs."""


def make_room(vllm_config: VllmConfig) -> None:
    """Raises vLLM's encoder cache to ENCODER_CACHE_MIB, if it is smaller.

    Call it before the engine's parts read the configuration.
    """
    tokens = ENCODER_CACHE_MIB * 2**20 // bytes_per_token(vllm_config.model_config)
    scheduler = vllm_config.scheduler_config
    scheduler.encoder_cache_size = max(scheduler.encoder_cache_size, tokens)


def bytes_per_token(model_config: ModelConfig) -> int:
    """Of one visual token: a hidden state, and one more for each level of Qwen3-VL's deepstack."""
    vision = getattr(model_config.hf_config, "vision_config", None)
    levels = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
    return int(levels * model_config.get_inputs_embeds_size() * model_config.dtype.itemsize)
