"""The model families that sdrpn serves, one module each; docs/families.md says how to add one."""

from __future__ import annotations

from rpn_plugin.families.base import Family
from rpn_plugin.families.deepseek_vl import DEEPSEEK_VL, DEEPSEEK_VL_HYBRID
from rpn_plugin.families.llava import LLAVA
from rpn_plugin.families.qwen2_5_vl import QWEN2_5_VL
from rpn_plugin.families.qwen3_vl import QWEN3_VL

FAMILIES: tuple[Family, ...] = (QWEN2_5_VL, QWEN3_VL, LLAVA, DEEPSEEK_VL, DEEPSEEK_VL_HYBRID)

__all__ = [
    "DEEPSEEK_VL",
    "DEEPSEEK_VL_HYBRID",
    "FAMILIES",
    "LLAVA",
    "QWEN2_5_VL",
    "QWEN3_VL",
    "Family",
    "family_named",
    "family_of_architecture",
]


def family_named(name: str) -> Family:
    """The family with that key; ValueError naming the known ones if there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise ValueError(f"unknown family {name!r}; known: {known}")


def family_of_architecture(architecture: str) -> Family | None:
    """The family that has models of that architecture, under whichever of its names, or None."""
    for family in FAMILIES:
        if architecture in family.architectures:
            return family
    return None
