"""What families with a Llama as their language model have in common."""

from __future__ import annotations

from types import MappingProxyType

LLAMA_DEFAULTS = MappingProxyType(
    {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
)
"""The defaults of transformers' `LlamaConfig`, which configurations leave out."""
