"""The vLLM configuration that attaches an RPN to a model; one place for server, tests, benchmarks.

The same values go on vLLM's command line (as JSON) and into its Python API.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rpn_plugin.families import family_named
from rpn_plugin.network.checkpoint import load_rpn_config

CONNECTOR = "SdrpnConnector"
"""The name our KV connector is registered under."""

SETTINGS = "sdrpn"
"""The entry of the model's Hugging Face configuration that holds our settings."""

PREFIX_CACHE_MIB = 256
"""Default size of the RPN's prefix cache: 52,000 tokens for a Qwen2.5-VL-7B with an RPN of depth 3
in bfloat16.
"""


def hf_overrides(rpn: str | Path, prefix_cache_mib: float = PREFIX_CACHE_MIB) -> dict[str, Any]:
    """`hf_overrides` that load a model with a tap for the RPN in folder `rpn`.

    With `prefix_cache_mib` 0 the RPN has no prefix cache: it computes each map from the whole
    prompt.
    Raises CheckpointError if the folder's configuration cannot be read.
    """
    family = family_named(load_rpn_config(rpn).family)
    return {
        "architectures": [family.engine_architecture],
        SETTINGS: {"rpn": str(Path(rpn).resolve()), "prefix_cache_mib": prefix_cache_mib},
    }


def kv_transfer_config() -> dict[str, Any]:
    """`kv_transfer_config` that carries RoI requests into the engine and maps out of it.

    A producer only: as a consumer, vLLM would hold back freed blocks for loads that never come.
    """
    return {"kv_connector": CONNECTOR, "kv_role": "kv_producer"}
