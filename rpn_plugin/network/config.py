"""The shape of a region proposal network, and the settings it was trained to be served with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rpn_plugin.families import QWEN2_5_VL, Family, family_named
from rpn_plugin.families.base import RpnLayers
from rpn_plugin.regions.rules import check_rules

_RENAMED_FIELDS = {
    "gate_peak": "gate_min_peak",
    "gate_area": "gate_max_area",
    "gate_sure": "gate_max_confidence",
    "gate_sure_tokens": "gate_confidence_tokens",
    "gate_need": "gate_min_probability",
}


@dataclass(frozen=True)
class RpnConfig:
    """An RPN on the hidden states of one model; ValueError if the numbers cannot be true together.

    The paper calls `tap_layer` K (here also B) and `depth` T (here also R).
    """

    family: str
    tap_layer: int
    """The RPN reads the states that leave this many layers of the model."""
    depth: int
    """Layers of the RPN: depth - 1 whole ones, and one that only scores."""
    base_layers: int
    """Layers of the model it was trained on."""
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]
    """Rotary frequencies that turn with the t, h and w position; head_dim / 2 in all. Where a token
    has one position, that is t.
    """
    attention_bias: bool
    threshold: float | None = 0.1
    """Serving default: a cell belongs to a region if its blurred probability is above this. None
    is relative to the map's peak, which only the rules `visionrl2` know.
    """
    rules: str = "sdrpn"
    """From a RoI map to regions and crops: see `regions/rules.py`."""
    base_tokens: int = 576
    """Serving default: visual tokens of the base view."""
    crop_tokens: int = 576
    """Serving default: visual tokens of a crop."""
    gate_layers: int = 0
    """Layers of the learned gate, which reads the states that the RPN reads; 0: there is none."""
    gate_min_peak: float = 0.0
    """This RPN's gate is closed for maps whose best region has a lower score."""
    gate_max_area: float = 1.0
    """It is closed for maps whose regions cover a larger share of the picture."""
    gate_max_confidence: float = 1.0
    """It is closed if the base view's answer begins with tokens all more probable than this."""
    gate_confidence_tokens: int = 1
    """The number of first tokens that `gate_max_confidence` is about."""
    gate_min_probability: float = 0.0
    """It is closed if the learned gate's probability that a zoom is needed is lower."""
    gate_default: bool = True
    """Serving default: whether this RPN's gate applies to chats that do not mention a gate."""

    def __post_init__(self) -> None:
        family_named(self.family)
        if not 1 <= self.tap_layer <= self.base_layers:
            raise ValueError(f"tap_layer {self.tap_layer} is not a layer 1..{self.base_layers}")
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"{self.num_attention_heads} heads cannot share {self.num_key_value_heads} kv heads"
            )
        if 2 * sum(self.mrope_section) != self.head_dim:
            raise ValueError(f"mrope_section {self.mrope_section} must add to {self.head_dim} / 2")
        check_rules(self.rules)
        if self.threshold is None:
            if self.rules != "visionrl2":
                raise ValueError(f"the rules {self.rules} need a threshold")
        elif not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {self.threshold}")
        gate = (
            self.gate_min_peak,
            self.gate_max_area,
            self.gate_max_confidence,
            self.gate_min_probability,
        )
        if not all(0 <= limit <= 1 for limit in gate):
            raise ValueError(
                "gate_min_peak, gate_max_area, gate_max_confidence and gate_min_probability "
                "are from 0 to 1"
            )
        if self.gate_confidence_tokens < 1:
            raise ValueError(
                f"gate_confidence_tokens must be at least 1, got {self.gate_confidence_tokens}"
            )
        if self.gate_layers < 0:
            raise ValueError(f"gate_layers must not be negative, got {self.gate_layers}")
        if self.gate_min_probability and not self.gate_layers:
            raise ValueError("gate_min_probability is for a learned gate, and gate_layers is 0")
        if min(self.base_tokens, self.crop_tokens) < 1:
            raise ValueError("token budgets must be positive")

    @property
    def layers(self) -> RpnLayers:
        """How the family builds the RPN's layers."""
        return family_named(self.family).layers

    @classmethod
    def for_model(
        cls,
        hf_config: Mapping[str, Any],
        *,
        tap_layer: int,
        depth: int,
        family: Family = QWEN2_5_VL,
        **serving: Any,
    ) -> RpnConfig:
        """The RPN whose layers are shaped like those of the model with this `config.json`.

        `serving` sets threshold (without it, the family's released one) and token budgets.
        ValueError if a field is missing.
        """
        text = _language_config(hf_config, family)
        rope = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
        try:
            hidden_size, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
            head_dim = int(text.get("head_dim") or hidden_size // heads)
            one_axis = family.layers.rope == "sequence"
            return cls(
                family=family.name,
                tap_layer=tap_layer,
                depth=depth,
                base_layers=int(text["num_hidden_layers"]),
                hidden_size=hidden_size,
                num_attention_heads=heads,
                num_key_value_heads=int(text.get("num_key_value_heads") or heads),
                head_dim=head_dim,
                intermediate_size=int(text["intermediate_size"]),
                rms_norm_eps=float(text["rms_norm_eps"]),
                rope_theta=float(rope.get("rope_theta") or text["rope_theta"]),
                mrope_section=(head_dim // 2, 0, 0) if one_axis else _three(rope["mrope_section"]),
                attention_bias=family.layers.attention_bias,
                **{"threshold": family.boxes.threshold, **serving},
            )
        except KeyError as missing:
            raise ValueError(f"the model's configuration has no {missing}") from missing

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RpnConfig:
        """The inverse of `to_dict`; ValueError names unknown, renamed and missing fields."""
        if renamed := sorted(set(values) & set(_RENAMED_FIELDS)):
            raise ValueError(
                "; ".join(f"{old} is now called {_RENAMED_FIELDS[old]}" for old in renamed)
            )
        names = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ValueError(f"unknown fields {unknown}")
        try:
            return cls(**{**values, "mrope_section": _three(values["mrope_section"])})
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def _language_config(hf_config: Mapping[str, Any], family: Family) -> Mapping[str, Any]:
    """The language model's part: nested under `text_config` since transformers 4.52."""
    return {**family.language_defaults, **hf_config, **(hf_config.get("text_config") or {})}


def _three(section: Any) -> tuple[int, int, int]:
    t, h, w = section
    return int(t), int(h), int(w)
