"""The messages between the API process and the engine about one request.

The messages travel in vLLM's `kv_transfer_params`: a request for a RoI map goes in with a request's
sampling parameters, the answer comes back on its `RequestOutput`. Both cross process boundaries as
plain JSON values, so a map is base64 of little-endian float32.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_KEY = "sdrpn"


@dataclass(frozen=True)
class RoiRequest:
    """Asks for the RoI map of one picture of the prompt.

    `image` is the index of the picture in the prompt; -1 is the last. `gate`: run the learned gate
    as well.
    """

    image: int = -1
    gate: bool = False

    def to_params(self) -> dict[str, Any]:
        """The `kv_transfer_params` that carry this request into the engine."""
        return {_KEY: {"image": self.image, "gate": self.gate}}

    @classmethod
    def from_params(cls, params: dict[str, Any] | None) -> RoiRequest | None:
        """The request in `params`, or None if they hold none; ValueError if it is malformed."""
        if not params or _KEY not in params:
            return None
        body = params[_KEY]
        image = body.get("image", -1) if isinstance(body, dict) else None
        gate = body.get("gate", False) if isinstance(body, dict) else None
        if not isinstance(image, int) or isinstance(image, bool) or not isinstance(gate, bool):
            schema = "{'image': int, 'gate': bool}"
            raise ValueError(f"kv_transfer_params['{_KEY}'] must be {schema}, got {body!r:.80}")
        return cls(image, gate)


@dataclass(frozen=True)
class RoiMap:
    """One logit per merged image token, float32 [rows, cols], and what the RPN's batch took.

    `seconds` is the wall time of the RPN batch this map was computed in; `batch_size` says how many
    requests shared that batch, `cached_tokens` how many of the prompt's tokens came from
    the RPN's prefix cache. `gate_logit` is the learned gate's, if it ran. `evicted_tokens` is
    what the batch evicted from the prefix cache, told by one of its maps.
    """

    logits: NDArray[np.float32]
    seconds: float
    batch_size: int = 1
    cached_tokens: int = 0
    gate_logit: float | None = None
    evicted_tokens: int = 0

    @property
    def gate_probability(self) -> float | None:
        """The learned gate's probability that a zoom is needed; None if it did not run."""
        if self.gate_logit is None:
            return None
        return float(expit(self.gate_logit))


class RoiError(Exception):
    """The engine could not make a RoI map for this request; the message is a short reason."""


def encode_result(result: RoiMap | RoiError) -> dict[str, Any]:
    """The `kv_transfer_params` that carry a result out of the engine."""
    if isinstance(result, RoiError):
        return {_KEY: {"error": str(result)}}
    rows, cols = result.logits.shape
    raw = np.ascontiguousarray(result.logits, dtype="<f4").tobytes()
    return {
        _KEY: {
            "grid": [rows, cols],
            "logits": base64.b64encode(raw).decode("ascii"),
            "seconds": result.seconds,
            "batch_size": result.batch_size,
            "cached_tokens": result.cached_tokens,
            "gate_logit": result.gate_logit,
            "evicted_tokens": result.evicted_tokens,
        }
    }


def decode_result(params: dict[str, Any] | None) -> RoiMap:
    """The map in a finished request's `kv_transfer_params`.

    Raises RoiError if the engine reported an error or sent no result.
    """
    body = (params or {}).get(_KEY)
    if not body:
        raise RoiError("the engine sent no RoI result; is the sdrpn connector configured?")
    if "error" in body:
        raise RoiError(body["error"])
    raw = base64.b64decode(body["logits"])
    logits = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(body["grid"])
    return RoiMap(
        logits,
        float(body["seconds"]),
        int(body["batch_size"]),
        int(body["cached_tokens"]),
        body["gate_logit"],
        int(body["evicted_tokens"]),
    )
