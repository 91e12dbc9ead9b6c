"""Pseudo-labels agree with every recorded case of the released scripts, exactly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rpn_plugin.distill.labels.pseudo_labels import BACKGROUND, LabelOptions, pseudo_labels

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "pseudo_labels"
ARRAYS = np.load(GOLDEN / "cases.npz")
CASES = json.loads((GOLDEN / "cases.json").read_text())
FAMILY = {"qwen": "qwen2_5_vl", "llava": "llava"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_labels_and_box_equal_the_recorded_ones(case: dict[str, Any]) -> None:
    name = case["name"]
    content_size = case["original_image_size"] if case["args"].get("mask_known_bg") else None
    result = pseudo_labels(
        ARRAYS[f"{name}.attn"],
        ARRAYS.get(f"{name}.sink"),
        content_size=tuple(content_size) if content_size else None,
        family=FAMILY[case["variant"]],
    )
    np.testing.assert_array_equal(result.labels.ravel(), ARRAYS[f"{name}.labels"].ravel())
    assert list(result.box) == case["fg_bbox_rc_inclusive"]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="sink_attention"):
        pseudo_labels(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="square"):
        pseudo_labels(np.ones((4, 5)), content_size=(10, 5))
    with pytest.raises(ValueError, match="unknown family"):
        pseudo_labels(np.ones((4, 4)), family="none")


CONTENT = json.loads((GOLDEN / "foreground_masks.json").read_text())


@pytest.mark.parametrize("case", CONTENT, ids=lambda c: f"{c['variant']}-{c['src_wh']}")
def test_padding_lies_beside_the_recorded_content(case: dict[str, Any]) -> None:
    """A picture of 333 x 1 keeps a row of cells."""
    (row0, row1), (col0, col1) = case["rows"], case["cols"]
    attention = np.full((case["grid"], case["grid"]), 0.15)  # neither foreground nor background
    attention[(row0 + row1) // 2, (col0 + col1) // 2] = 1.0
    labels = pseudo_labels(
        attention, content_size=tuple(case["src_wh"]), family=FAMILY[case["variant"]]
    ).labels
    padding = np.ones(labels.shape, dtype=bool)
    padding[row0 : row1 + 1, col0 : col1 + 1] = False
    np.testing.assert_array_equal(labels == BACKGROUND, padding)


@pytest.mark.parametrize("shape", [(24, 24), (24, 12), (7, 7)])
def test_exact_padding_leaves_content_to_every_picture(shape: tuple[int, int]) -> None:
    options = LabelOptions(exact_padding=True)
    for size in ((333, 1), (1, 333)):
        labels = pseudo_labels(np.full(shape, 0.5), content_size=size, options=options).labels
        assert (labels != BACKGROUND).any()
