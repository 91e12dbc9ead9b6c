"""A word more in a RoI request: the model's own attention is wanted, not the RPN's map.

Only research methods that sdrpn is compared with say it (`server/research/`), and only the research
connector (`engine/research_connector.py`) hears it. The answer is a RoiMap of weights in place of
logits.
"""

from __future__ import annotations

from typing import Any

from rpn_plugin.messages import RoiRequest

_WORD = "attention"


def with_attention(params: dict[str, Any] | None) -> dict[str, Any]:
    """`kv_transfer_params` of a RoI request, asking for attention. ValueError if they hold none."""
    if params is None or RoiRequest.from_params(params) is None:
        raise ValueError("only a RoI request can ask for attention")
    return {key: {**body, _WORD: True} for key, body in params.items()}


def wants_attention(params: dict[str, Any] | None) -> bool:
    """Whether these `kv_transfer_params` ask for attention."""
    bodies = (params or {}).values()
    return any(isinstance(body, dict) and body.get(_WORD) is True for body in bodies)
