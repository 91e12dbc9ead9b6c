"""RPN folders: what is written is read back, and what is wrong is said in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rpn_plugin.compat import check_rpn_fits
from rpn_plugin.network.checkpoint import (
    CheckpointError,
    is_pruned,
    is_published_model,
    load_gate,
    load_rpn,
    load_rpn_config,
    save_rpn,
)
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.layouts import is_published_rpn_tensor
from rpn_plugin.network.learned_gate import LearnedGate
from tests.golden import LLAVA, QWEN, add_gate

PUBLISHED = QWEN / "checkpoint"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good folder in our own format."""
    save_rpn(load_rpn(PUBLISHED), tmp_path / "rpn")
    return tmp_path / "rpn"


def test_round_trip_keeps_weights_dtype_and_configuration(tmp_path: Path) -> None:
    rpn = load_rpn(PUBLISHED).bfloat16()
    save_rpn(rpn, tmp_path)
    again = load_rpn(tmp_path)
    assert again.config == rpn.config == load_rpn_config(tmp_path)
    torch.testing.assert_close(dict(again.state_dict()), dict(rpn.state_dict()), atol=0, rtol=0)


def test_published_configuration_is_understood() -> None:
    config = load_rpn_config(PUBLISHED)
    assert (config.tap_layer, config.depth, config.base_layers) == (4, 3, 8)
    assert (config.hidden_size, config.head_dim, config.mrope_section) == (128, 32, (4, 6, 6))


KEYS: dict[str, list[str]] = json.loads((PUBLISHED.parent / "checkpoint_keys.json").read_text())


@pytest.mark.parametrize("embeddings", ["tied", "untied"])
def test_the_rpns_tensors_are_told_from_the_models(embeddings: str) -> None:
    own = [name for name in KEYS[f"{embeddings}_filled"] if not is_published_rpn_tensor(name)]
    assert sorted(own) == sorted(KEYS[f"{embeddings}_base"])


@pytest.fixture(params=["tied_filled", "tied_pruned", "untied_filled", "untied_pruned"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A published checkpoint in each of its forms; a pruned one counts the layers it kept."""
    tensors = load_file(PUBLISHED / "model.safetensors")
    save_file({name: tensors[name] for name in KEYS[request.param]}, tmp_path / "model.safetensors")
    hf_config = json.loads((PUBLISHED / "config.json").read_text())
    hf_config["tie_word_embeddings"] = request.param.startswith("tied")
    hf_config["num_hidden_layers"] = 7 if request.param.endswith("pruned") else 8
    (tmp_path / "config.json").write_text(json.dumps(hf_config))
    return request.param, tmp_path


def test_every_published_form_holds_the_same_rpn(published: tuple[str, Path]) -> None:
    form, folder = published
    rpn, recorded = load_rpn(folder), load_rpn(PUBLISHED)
    torch.testing.assert_close(dict(rpn.state_dict()), dict(recorded.state_dict()), atol=0, rtol=0)
    assert is_published_model(folder)
    assert is_pruned(folder) == form.endswith("pruned")
    check_rpn_fits(rpn.config, json.loads((PUBLISHED / "config.json").read_text()))


def test_a_published_llava_checkpoint() -> None:
    config = load_rpn_config(LLAVA / "checkpoint")
    assert (config.family, config.tap_layer, config.depth) == ("llava", 4, 3)
    assert config.mrope_section == (16, 0, 0)
    assert config.threshold == 0.15
    assert not is_pruned(LLAVA / "checkpoint")


def test_a_published_gate(published: tuple[str, Path]) -> None:
    """Q-Zoom's layout: beside the RPN, as deep as it unless the configuration says otherwise."""
    _, folder = published
    assert load_gate(folder) is None
    add_gate(folder)
    config = load_rpn_config(folder)
    assert (config.gate_layers, config.gate_min_probability, config.gate_default) == (3, 0.1, True)
    gate = load_gate(folder)
    assert gate is not None
    raw = load_file(folder / "model.safetensors")
    assert gate.head.bias.equal(raw["model.high_res_head.bias"])
    names = [f"layers.{n}.mlp.up_proj.weight" for n in range(3)]
    assert all(gate.state_dict()[name].equal(raw[f"model.high_res_{name}"]) for name in names)
    torch.testing.assert_close(load_rpn(folder).state_dict(), load_rpn(PUBLISHED).state_dict())
    own = {name for name in raw if not is_published_rpn_tensor(name)}
    assert not any("high_res" in name for name in own)


def test_a_published_gate_of_its_own_depth_and_threshold(published: tuple[str, Path]) -> None:
    add_gate(published[1], high_res_K=4, high_res_T=1, high_res_thresh=0.05)
    gate = load_gate(published[1])
    assert gate is not None
    assert (gate.config.gate_layers, gate.config.gate_min_probability) == (1, 0.05)


def test_a_published_gate_must_read_what_the_rpn_reads(published: tuple[str, Path]) -> None:
    path = published[1] / "config.json"
    hf_config = json.loads(path.read_text())
    path.write_text(json.dumps({**hf_config, "enable_high_res": True, "high_res_K": 2}))
    with pytest.raises(CheckpointError, match=r"after layer 2 \(high_res_K\)"):
        load_rpn_config(published[1])


def test_a_release_names_its_rules(published: tuple[str, Path]) -> None:
    folder = published[1]
    assert (load_rpn_config(folder).rules, load_rpn_config(folder).threshold) == ("sdrpn", 0.1)
    edit_published(folder, enable_high_res=True)
    assert load_rpn_config(folder).rules == "qzoom"
    edit_published(folder, enable_high_res=False, return_per_head_score=True)
    config = load_rpn_config(folder)
    assert (config.rules, config.threshold) == ("visionrl2", None)
    assert RpnConfig.from_dict(config.to_dict()) == config


def test_only_rules_relative_to_the_peak_do_without_a_threshold() -> None:
    config = load_rpn_config(PUBLISHED)
    with pytest.raises(ValueError, match="the rules sdrpn need a threshold"):
        replace(config, threshold=None)
    with pytest.raises(ValueError, match="unknown rules 'newest'"):
        replace(config, rules="newest")


def edit_published(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_models_high_resolution_parts_are_its_own() -> None:
    assert not is_published_rpn_tensor("model.high_res_vision_model.layers.0.attn.qkv.weight")
    assert not is_published_rpn_tensor("model.high_res_vision_alpha")


def test_a_gate_is_kept_beside_its_rpn(folder: Path) -> None:
    assert load_gate(folder) is None
    rpn = load_rpn(folder)
    rpn.config = replace(rpn.config, gate_layers=2, gate_min_probability=0.25, gate_default=False)
    with pytest.raises(ValueError, match="a gate of 2 layers"):
        save_rpn(rpn, folder, LearnedGate(replace(rpn.config, gate_layers=1)))
    gate = LearnedGate(rpn.config).bfloat16()
    save_rpn(rpn, folder, gate)
    again = load_gate(folder)
    assert again is not None
    assert again.config == load_rpn_config(folder) == rpn.config
    torch.testing.assert_close(again.state_dict(), gate.state_dict(), atol=0, rtol=0)
    (folder / "gate.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*gate\.safetensors"):
        load_gate(folder)
    save_rpn(rpn, folder)
    assert load_gate(folder) is None


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "rpn_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no RPN in"):
        load_rpn(tmp_path / "nowhere")


def test_missing_weights(folder: Path) -> None:
    (folder / "rpn.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*rpn\.safetensors"):
        load_rpn(folder)


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "rpn.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cannot read .*rpn\.safetensors"):
        load_rpn(folder)


def test_broken_json(folder: Path) -> None:
    (folder / "rpn_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_rpn(folder)


def test_unknown_field(folder: Path) -> None:
    edit_config(folder, colour="red")
    with pytest.raises(CheckpointError, match="colour"):
        load_rpn(folder)


def test_impossible_tap_layer(folder: Path) -> None:
    edit_config(folder, tap_layer=99)
    with pytest.raises(CheckpointError, match="tap_layer 99"):
        load_rpn(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    edit_config(folder, intermediate_size=300)
    with pytest.raises(CheckpointError, match=r"mlp\.down_proj\.weight should be \(128, 300\)"):
        load_rpn(folder)


def test_missing_tensor(folder: Path) -> None:
    tensors = load_file(folder / "rpn.safetensors")
    del tensors["layers.2.self_attn.q_proj.bias"]
    save_file(tensors, folder / "rpn.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.2\.self_attn\.q_proj\.bias"):
        load_rpn(folder)


def test_plain_model_is_no_rpn(tmp_path: Path) -> None:
    hf_config = json.loads((PUBLISHED / "config.json").read_text())
    shutil.copy(PUBLISHED / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**hf_config, "enable_twig": False}))
    with pytest.raises(CheckpointError, match="plain model"):
        load_rpn(tmp_path)


def test_published_checkpoint_of_an_unsupported_family(tmp_path: Path) -> None:
    hf_config = json.loads((PUBLISHED / "config.json").read_text())
    changed = {**hf_config, "architectures": ["LlavaMistralForCausalLM"]}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match="LlavaMistralForCausalLM"):
        load_rpn(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gate_peak", "gate_min_peak"),
        ("gate_area", "gate_max_area"),
        ("gate_sure", "gate_max_confidence"),
        ("gate_sure_tokens", "gate_confidence_tokens"),
        ("gate_need", "gate_min_probability"),
    ],
)
def test_a_renamed_field_is_refused_with_its_new_name(folder: Path, old: str, new: str) -> None:
    path = folder / "rpn_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), old: 0.5}))
    with pytest.raises(CheckpointError, match=f"{old} is now called {new}"):
        load_rpn_config(folder)
