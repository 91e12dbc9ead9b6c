"""The rules of each release: recorded cases, exactly, and what must hold for any map."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from rpn_plugin.families import FAMILIES, family_named
from rpn_plugin.regions.boxes import blurred_map, regions_from_map
from rpn_plugin.regions.rules import RULE_SETS, box_rules

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "visionrl2" / "rules"
MAPS = load_file(GOLDEN / "maps.safetensors")
FAMILY_OF_CELL = {28: "qwen2_5_vl", 32: "qwen3_vl"}
CASES = [
    case
    for case in json.loads((GOLDEN / "index.json").read_text())
    if case.get("cell") in FAMILY_OF_CELL
]


def threshold_of(case: dict[str, Any]) -> float | None:
    return case["threshold"] if case["legacy"] else None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vision_rl2s_boxes_equal_the_recorded_ones(case: dict[str, Any]) -> None:
    family, threshold = FAMILY_OF_CELL[case["cell"]], threshold_of(case)
    logits = MAPS[f"{case['name']}.logits"]
    blurred = blurred_map(logits, family, "visionrl2", threshold)
    np.testing.assert_allclose(blurred, MAPS[f"{case['name']}.blur"], rtol=0, atol=1e-6)
    regions = regions_from_map(
        logits, tuple(case["picture_wh"]), threshold, family=family, rules="visionrl2"
    )
    recorded = [(case["cells_xyxy"], case["px_xyxy"])] if case["fired"] else []
    assert [(list(region.cells), list(region.box)) for region in regions] == recorded


def test_a_small_box_is_grown_and_slid_into_the_picture_or_dropped() -> None:
    logits = np.full((18, 18), -9.0)
    logits[16:, 16:] = 9.0
    size = (180, 180)
    (grown,) = regions_from_map(logits, size, 0.9, rules="qzoom")
    assert grown.box == (152, 152, 180, 180)
    assert regions_from_map(logits, size, 0.9, rules="sdrpn") == []


def test_a_picture_smaller_than_the_least_side_is_taken_whole() -> None:
    logits = np.full((6, 6), -9.0)
    logits[2:4, 2:4] = 9.0
    for rules in ("qzoom", "visionrl2"):
        (region,) = regions_from_map(logits, (20, 300), rules=rules)
        assert region.box[0::2] == (0, 20)


def test_one_row_of_cells_has_a_region() -> None:
    logits = np.full((1, 24), -9.0)
    logits[0, 20] = 9.0
    (region,) = regions_from_map(logits, (672, 28), rules="visionrl2")
    assert region.cells[0] <= 20 < region.cells[2]


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_a_threshold_is_absolute_under_all_rules(family: str, rules: str) -> None:
    own = box_rules(family_named(family), rules, 0.4)
    assert (own.threshold, own.peak, own.grid_blur) == (0.4, None, False)


def test_unknown_rules_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown rules 'newest'; known: sdrpn, qzoom, visionrl2"):
        regions_from_map(np.zeros((2, 2)), (56, 56), rules="newest")
