"""Released LLaVA checkpoints: what is made of their configuration and of their weights' names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, LlavaConfig

from rpn_plugin.engine.models import llava_layout
from rpn_plugin.engine.models.llava import renamed
from tests.golden import LLAVA


def names(*found: str, published: bool) -> list[str]:
    return [name for name, _ in renamed([(name, torch.empty(0)) for name in found], published)]


def test_released_names() -> None:
    assert names(
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.layers.3.mlp.up_proj.weight",
        "model.mm_projector.0.bias",
        "model.mm_projector.2.weight",
        "model.norm.weight",
        published=True,
    ) == [
        "lm_head.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.layers.3.mlp.up_proj.weight",
        "multi_modal_projector.linear_1.bias",
        "multi_modal_projector.linear_2.weight",
        "language_model.model.norm.weight",
    ]


def test_a_tower_of_its_own_comes_before_the_one_it_names() -> None:
    assert names(
        "model.vision_tower.vision_tower.vision_model.embeddings.class_embedding",
        "vision_tower.vision_model.embeddings.class_embedding",
        "vision_tower.vision_model.pre_layrnorm.bias",
        published=True,
    ) == [
        "vision_tower.vision_model.embeddings.class_embedding",
        "vision_tower.vision_model.pre_layrnorm.bias",
    ]


def test_of_a_whole_clip_only_the_vision_model_is_taken() -> None:
    assert names(
        "vision_tower.logit_scale",
        "vision_tower.text_model.embeddings.token_embedding.weight",
        "vision_tower.text_projection.weight",
        "vision_tower.visual_projection.weight",
        "vision_tower.vision_model.embeddings.position_ids",
        "vision_tower.vision_model.embeddings.position_embedding.weight",
        published=True,
    ) == ["vision_tower.vision_model.embeddings.position_embedding.weight"]


@pytest.mark.parametrize("published", [True, False])
def test_towers_as_transformers_5_saves_them(published: bool) -> None:
    prefix = "" if published else "model."
    parts = ("embeddings.x", "pre_layrnorm.bias", "post_layernorm.weight", "encoder.layers.0.x")
    assert names(*(f"{prefix}vision_tower.{part}" for part in parts), published=published) == [
        f"vision_tower.vision_model.{part}" for part in parts
    ]


@pytest.mark.parametrize(
    "name",
    [
        "model.language_model.layers.0.mlp.up_proj.weight",
        "language_model.model.layers.0.mlp.up_proj.weight",
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias",
    ],
)
def test_hugging_faces_names_are_left_to_vllm(name: str) -> None:
    assert names(name, published=False) == [name]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A released configuration, and the tower it names beside it."""
    shutil.copytree(LLAVA / "vision_tower", tmp_path / "vision_tower")
    (tmp_path / "checkpoint").mkdir()
    shutil.copy(LLAVA / "checkpoint" / "config.json", tmp_path / "checkpoint")
    llava_layout.register()
    return tmp_path / "checkpoint"


def test_a_flat_configuration_becomes_llavas(checkpoint: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(checkpoint)
    text, vision = config.text_config, config.vision_config
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (128, 8, 512)
    assert text.rope_parameters["rope_theta"] == 1e4
    assert (vision.hidden_size, vision.image_size, vision.patch_size) == (64, 336, 14)
    assert config.vision_feature_layer == -2
    assert config.mm_vision_tower == str(tmp_path / "vision_tower")
    config.save_pretrained(tmp_path / "again")
    again = AutoConfig.from_pretrained(tmp_path / "again")
    assert again.text_config.hidden_size == 128


def test_one_that_is_called_llava_as_hugging_faces_are(checkpoint: Path, tmp_path: Path) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "llava"}))
    config = AutoConfig.from_pretrained(checkpoint)
    assert isinstance(config, llava_layout.PublishedLlavaConfig)
    assert config.text_config.num_hidden_layers == 8
    LlavaConfig(text_config={"model_type": "llama", "num_hidden_layers": 3}).save_pretrained(
        tmp_path
    )
    nested = AutoConfig.from_pretrained(tmp_path)
    assert type(nested) is LlavaConfig
    assert nested.text_config.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mm_projector_type", "linear"),
        ("image_aspect_ratio", "anyres"),
        ("mm_use_im_start_end", True),
    ],
)
def test_other_members_of_the_line_are_refused(checkpoint: Path, field: str, value: object) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ValueError, match=f"{field} .* is not LLaVA-1.5"):
        AutoConfig.from_pretrained(checkpoint)
