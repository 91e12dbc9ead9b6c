"""The model families that sdrpn serves."""

from __future__ import annotations

from rpn_plugin.families.base import Family
from rpn_plugin.families.qwen2_5_vl import QWEN2_5_VL

FAMILIES: tuple[Family, ...] = (QWEN2_5_VL,)

__all__ = ["FAMILIES", "QWEN2_5_VL", "Family", "family_named", "family_of_architecture"]


def family_named(name: str) -> Family:
    """The family with that key; ValueError naming the known ones if there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise ValueError(f"unknown model family {name!r}; known: {[f.name for f in FAMILIES]}")


def family_of_architecture(architecture: str) -> Family | None:
    """The family whose plain or tapped architecture is `architecture`, or None."""
    for family in FAMILIES:
        if architecture in (family.hf_architecture, family.engine_architecture):
            return family
    return None
