"""What does not fit is refused with one line that names the misfit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rpn_plugin.compat import (
    CompatibilityError,
    check_model_config,
    check_rpn_fits,
    check_vllm_version,
)
from rpn_plugin.network.checkpoint import load_rpn_config

FOLDER = Path(__file__).parents[1] / "data" / "golden" / "qwen25vl_tiny" / "checkpoint"
RPN = load_rpn_config(FOLDER)
MODEL: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1", "0.32.0+cpu", "0.32.0rc2"])
def test_supported_versions(version: str) -> None:
    check_vllm_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "0.3.2", "1.32.0"])
def test_other_versions(version: str) -> None:
    with pytest.raises(CompatibilityError, match=f"vLLM {version} is not supported"):
        check_vllm_version(version)


def test_no_vllm() -> None:
    with pytest.raises(CompatibilityError, match="vLLM is not installed"):
        check_vllm_version(None)


def test_rpn_fits_its_own_model() -> None:
    check_rpn_fits(RPN, MODEL)


def test_rpn_fits_the_same_model_as_newer_transformers_write_it() -> None:
    text_keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps")
    text = {key: MODEL[key] for key in (*text_keys, "num_key_value_heads", "intermediate_size")}
    text["rope_parameters"] = {"mrope_section": [4, 6, 6], "rope_theta": 1e6}
    nested = {key: MODEL[key] for key in ("architectures", "model_type")} | {"text_config": text}
    check_rpn_fits(RPN, nested)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 192),
        ("num_hidden_layers", 12),
        ("num_attention_heads", 2),
        ("num_key_value_heads", 4),
        ("rope_theta", 1e4),
    ],
)
def test_model_of_another_shape(field: str, value: float) -> None:
    scaled_rope = {"mrope_section": [8, 12, 12]} if field == "num_attention_heads" else {}
    model = {**MODEL, field: value}
    model["rope_scaling"] = {**MODEL["rope_scaling"], **scaled_rope}
    if field == "hidden_size":
        model["head_dim"] = 32
    with pytest.raises(CompatibilityError, match="does not fit the model") as refusal:
        check_rpn_fits(RPN, model)
    assert "\n" not in str(refusal.value)


def test_rpn_deeper_in_than_the_model_is() -> None:
    rpn = dataclasses.replace(RPN, tap_layer=8)
    with pytest.raises(CompatibilityError, match=r"tap_layer 8 is not a layer 1\.\.4"):
        check_rpn_fits(rpn, {**MODEL, "num_hidden_layers": 4})


def test_unsupported_architecture() -> None:
    with pytest.raises(CompatibilityError, match="LlamaForCausalLM is not supported"):
        check_model_config({**MODEL, "architectures": ["LlamaForCausalLM"]})


def test_configuration_without_architecture() -> None:
    with pytest.raises(CompatibilityError, match=r"\(none\) is not supported"):
        check_model_config({})


def test_another_model_under_our_architecture() -> None:
    model = {
        "architectures": ["SdrpnQwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
    }
    with pytest.raises(CompatibilityError, match="type qwen3_vl cannot be served"):
        check_model_config(model)


def test_model_without_mrope() -> None:
    model = {key: value for key, value in MODEL.items() if key != "rope_scaling"}
    with pytest.raises(CompatibilityError, match="'mrope_section'"):
        check_rpn_fits(RPN, model)
