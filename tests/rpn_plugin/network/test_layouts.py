"""The folders that each release consists of: configuration, tensors, maps and gates as recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rpn_plugin.network.checkpoint import (
    CheckpointError,
    is_pruned,
    is_published_model,
    load_gate,
    load_rpn,
    load_rpn_config,
)
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.regions.boxes import blurred_map, regions_from_map
from tests.golden import FOLDER, TOLERANCE

VISION_RL2 = FOLDER / "visionrl2" / "qwen25vl_tiny"
QZOOM = FOLDER / "qzoom" / "qwen25vl_tiny"
QZOOM_QWEN3 = FOLDER / "qzoom" / "qwen3vl_tiny"
CASES = [
    case for release in (VISION_RL2, QZOOM, QZOOM_QWEN3) for case in sorted(release.glob("[qv]0*"))
]


def name_of(path: Path) -> str:
    return "-".join(path.parts[-3:])


@pytest.fixture(params=[VISION_RL2, QZOOM, QZOOM_QWEN3], ids=name_of)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A released folder that a test may change."""
    return Path(shutil.copytree(request.param / "checkpoint", tmp_path / "checkpoint"))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_maps_and_gates_equal_the_recorded_ones(case: Path) -> None:
    tensors = load_file(case / "case.safetensors")
    meta: dict[str, Any] = json.loads((case / "meta.json").read_text())
    rpn, gate = load_rpn(case.parent / "checkpoint"), load_gate(case.parent / "checkpoint")
    hidden = tensors["hidden_after_K"][None]
    inputs = hidden, tensors["position_ids"][:, None], torch.tensor([hidden.shape[1] - 1])
    recorded, start = tensors["pred_roi"], meta["image_token_start"]
    with torch.inference_mode():
        logits = rpn(*inputs)[0, start : start + recorded.numel()].reshape(recorded.shape)
        if gate is not None:
            torch.testing.assert_close(gate(*inputs), tensors["gate_logit"], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(logits, recorded, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("case", [c for c in CASES if c.parent != QZOOM_QWEN3], ids=name_of)
def test_a_released_folder_draws_the_recorded_boxes(case: Path) -> None:
    """Qwen3-VL's are left out: Q-Zoom masks sinks there by the states of the first token."""
    tensors = load_file(case / "case.safetensors")
    meta: dict[str, Any] = json.loads((case / "meta.json").read_text())
    config = load_rpn_config(case.parent / "checkpoint")
    logits = tensors["pred_roi"].numpy()
    size = meta.get("picture_wh") or meta["picture_size_wh"]
    threshold = meta["conf_thresh"] if config.rules == "qzoom" else config.threshold
    blurred = blurred_map(logits, config.family, config.rules, threshold)
    torch.testing.assert_close(torch.from_numpy(blurred), tensors["blur_out"], atol=1e-5, rtol=0)
    (region,) = regions_from_map(
        logits, tuple(size), threshold, family=config.family, rules=config.rules
    )
    assert list(region.cells) == meta["bbox_cells_xyxy"]
    assert list(region.box) == meta["bbox_src_xyxy"]


def test_configurations() -> None:
    def of(release: Path) -> RpnConfig:
        return load_rpn_config(release / "checkpoint")

    assert [of(r).rules for r in (VISION_RL2, QZOOM, QZOOM_QWEN3)] == [
        "visionrl2", "qzoom", "qzoom",
    ]  # fmt: skip
    assert of(VISION_RL2).threshold is None
    assert [of(r).gate_layers for r in (VISION_RL2, QZOOM, QZOOM_QWEN3)] == [0, 3, 3]
    assert of(QZOOM_QWEN3).family == "qwen3_vl"


def test_flags_in_the_text_configuration_alone(folder: Path) -> None:
    path = folder / "config.json"
    before = load_rpn_config(folder)
    hf_config = json.loads(path.read_text())
    flags = {
        name: hf_config.pop(name)
        for name in ("enable_twig", "twig_K", "twig_T", "enable_high_res", "return_per_head_score")
        if name in hf_config
    }
    hf_config["text_config"] = {**hf_config.get("text_config", {}), **flags}
    path.write_text(json.dumps(hf_config))
    assert is_published_model(folder)
    assert load_rpn_config(folder) == before


def test_shards_and_folders_of_the_rpn_alone(folder: Path) -> None:
    whole = load_rpn(folder).state_dict()
    assert not is_pruned(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    own = {name: tensor for name, tensor in tensors.items() if "twig_layers" in name}
    halves = [dict(list(own.items())[part::2]) for part in range(2)]
    for number, half in enumerate(halves, 1):
        save_file(half, folder / f"model-0000{number}-of-00002.safetensors")
    torch.testing.assert_close(dict(load_rpn(folder).state_dict()), dict(whole), atol=0, rtol=0)
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").unlink()
    save_file(own, folder / "twig_delta.safetensors")
    torch.testing.assert_close(dict(load_rpn(folder).state_dict()), dict(whole), atol=0, rtol=0)
    assert is_pruned(folder)


def test_a_pickle_is_refused_with_the_reason(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "twig_delta_final.pt").write_bytes(b"never read")
    with pytest.raises(CheckpointError, match=r"twig_delta_final\.pt is a pickle, which is not"):
        load_rpn(folder)


def test_positions_between_the_base_views_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "reuse_src_pos": True}))
    with pytest.raises(CheckpointError, match="reuse_src_pos is not supported"):
        load_rpn_config(folder)


@pytest.mark.parametrize(
    ("release", "reason"),
    [("qwen35_tiny", r"Qwen3\.5: .* output gate"), ("gemma4_tiny", "Gemma-4: .* every layer")],
)
def test_a_release_that_is_not_served_is_refused_by_name(release: str, reason: str) -> None:
    folder = FOLDER / "visionrl2" / release / "checkpoint"
    assert is_published_model(folder)
    with pytest.raises(CheckpointError, match=reason):
        load_rpn_config(folder)
