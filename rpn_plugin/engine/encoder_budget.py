"""Room for what the vision tower made of base views while their chats wait for pass 2.

Prefixes are shared in whole cache blocks, so pass 2 computes the last tokens of its base view
again, up to a block of them, and needs what the vision tower made of the view. vLLM keeps that
(`EncoderCacheManager`) for as many tokens as one step may have: with more chats between their
passes than fit in there, every base view would be encoded twice.
"""

from __future__ import annotations

from vllm.config import ModelConfig, VllmConfig

MOST_MIB = 256
"""The most that is kept, on each GPU; vLLM's own measure of memory knows only a step's worth."""


def make_room(vllm_config: VllmConfig) -> None:
    """Lets vLLM keep MOST_MIB of the vision tower's outputs, or what it would keep if that is more.

    To be called before the engine's parts read the configuration.
    """
    tokens = MOST_MIB * 2**20 // bytes_per_token(vllm_config.model_config)
    scheduler = vllm_config.scheduler_config
    scheduler.encoder_cache_size = max(scheduler.encoder_cache_size, tokens)


def bytes_per_token(model_config: ModelConfig) -> int:
    """Of one visual token: a hidden state, and one more for each level of Qwen3-VL's deepstack."""
    vision = getattr(model_config.hf_config, "vision_config", None)
    levels = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
    return int(levels * model_config.get_inputs_embeds_size() * model_config.dtype.itemsize)
