"""Checks whether vLLM, a model and an RPN fit together, without starting anything.

`sdrpn doctor` and `sdrpn serve` call these before they start an engine; the engine calls them again
when it is configured, so plain `vllm serve` gives the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rpn_plugin.families import FAMILIES, Family, family_named, family_of_architecture
from rpn_plugin.network.config import RpnConfig

VLLM_VERSIONS = ">=0.32,<0.33"
"""The supported vLLM: pyproject, Dockerfile and lock are tested against it (CONTRIBUTING.md)."""
_VLLM_SERIES = VLLM_VERSIONS.removeprefix(">=").split(",")[0].split(".")
# What the RPN has in common with the layers it was distilled from.
_SHARED_SHAPE = (
    "hidden_size",
    "base_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rope_theta",
    "mrope_section",
)


class CompatibilityError(Exception):
    """Parts do not fit together; the message is one line that says which and why."""


def check_vllm_version(version: str | None) -> None:
    """Raises CompatibilityError unless `version` (None: not installed) is one we are tested on."""
    if version is None:
        raise CompatibilityError(f"vLLM is not installed; sdrpn needs {VLLM_VERSIONS}")
    if version.split(".")[:2] != _VLLM_SERIES:
        raise CompatibilityError(f"vLLM {version} is not supported; sdrpn needs {VLLM_VERSIONS}")


def check_model_config(hf_config: Mapping[str, Any]) -> Family:
    """The family of the model with this `config.json`; CompatibilityError for other models."""
    architecture = next(iter(hf_config.get("architectures") or ["(none)"]))
    family = family_of_architecture(architecture)
    if family is None:
        supported = ", ".join(family.hf_architecture for family in FAMILIES)
        raise CompatibilityError(
            f"architecture {architecture} is not supported; sdrpn has {supported}"
        )
    model_type = hf_config.get("model_type")
    if model_type not in family.model_types:
        raise CompatibilityError(
            f"a model of type {model_type} cannot be served as {family.engine_architecture}"
        )
    return family


def check_rpn_fits(rpn: RpnConfig, hf_config: Mapping[str, Any]) -> None:
    """Raises CompatibilityError unless `rpn` was made for a model of this family and shape."""
    family = check_model_config(hf_config)
    if family_named(rpn.family) is not family:
        raise CompatibilityError(
            f"the RPN is for models of family {rpn.family}, the model's is {family.name}"
        )
    try:
        model = RpnConfig.for_model(
            hf_config, tap_layer=rpn.tap_layer, depth=rpn.depth, family=family
        )
    except ValueError as error:
        raise CompatibilityError(f"no RPN fits this model: {error}") from error
    for field in _SHARED_SHAPE:
        expected, actual = getattr(rpn, field), getattr(model, field)
        if field == "base_layers" and rpn.tap_layer + rpn.depth == expected < actual:
            continue  # a checkpoint pruned for training counts the layers that it kept
        if expected != actual:
            raise CompatibilityError(
                f"the RPN does not fit the model: it was made for {field} {expected}, "
                f"the model has {actual}"
            )
