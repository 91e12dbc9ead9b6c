"""How a family's pictures become tokens, for models of other sizes than the usual ones."""

from __future__ import annotations

from typing import Any

import pytest

from rpn_plugin.families import DEEPSEEK_VL, DEEPSEEK_VL_HYBRID, FAMILIES, LLAVA, QWEN2_5_VL, Family

TOWER_OF_384 = {"image_size": 384, "patch_size": 16}


@pytest.mark.parametrize(
    ("family", "hf_config", "square", "cell"),
    [
        (LLAVA, {"vision_config": {"image_size": 336, "patch_size": 14}}, 24, 14),
        (LLAVA, {"vision_config": {"image_size": 112, "patch_size": 14}}, 8, 14),
        (DEEPSEEK_VL, {"vision_config": TOWER_OF_384}, 24, 16),
        (
            DEEPSEEK_VL_HYBRID,
            {"vision_config": TOWER_OF_384, "high_res_vision_config": {"image_size": 1024}},
            24,
            43,
        ),
    ],
)
def test_squares_are_as_large_as_the_models_towers(
    family: Family, hf_config: dict[str, Any], square: int, cell: int
) -> None:
    image = family.image.of(hf_config)
    assert (image.square, image.cell) == (square, cell)
    assert image.shape((square * square, square * square), square * square) == (square, square)
    assert image.fill == family.image.fill


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_configuration_that_does_not_say_leaves_what_is_declared(family: Family) -> None:
    assert family.image.of({}) == family.image


def test_a_picture_that_keeps_its_shape_has_that_of_its_positions() -> None:
    image = QWEN2_5_VL.image.of({"vision_config": {"image_size": 224, "patch_size": 14}})
    assert image == QWEN2_5_VL.image
    assert image.shape((3, 5), 15) == (3, 5)
