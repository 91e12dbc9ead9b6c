"""A field of a RoI request that asks for the model's own attention in place of the RPN's map.

Only baselines set it, and only `attention_connector.py` reads it. The answer is a RoiMap of weights
in place of logits.
"""

from __future__ import annotations

from typing import Any

from rpn_plugin.messages import RoiRequest

_FIELD = "attention"


def with_attention(params: dict[str, Any] | None) -> dict[str, Any]:
    """`kv_transfer_params` of a RoI request, asking for attention. ValueError if they hold none."""
    if params is None or RoiRequest.from_params(params) is None:
        raise ValueError("only a RoI request can ask for attention")
    return {key: {**body, _FIELD: True} for key, body in params.items()}


def asks_for_attention(params: dict[str, Any] | None) -> bool:
    """Whether these `kv_transfer_params` ask for attention."""
    bodies = (params or {}).values()
    return any(isinstance(body, dict) and body.get(_FIELD) is True for body in bodies)
