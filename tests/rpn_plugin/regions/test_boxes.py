"""Boxes from RoI maps: recorded cases of the released code, and what must hold for any map."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rpn_plugin.families import FAMILIES
from rpn_plugin.regions.boxes import regions_from_map

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "roi_postprocess"
MAPS = np.load(GOLDEN / "cases.npz")
CASES = [
    case
    for case in json.loads((GOLDEN / "cases.json").read_text())
    if f"{case['name']}.logits" in MAPS
]
FAMILY_OF_VARIANT = {"qwen": "qwen2_5_vl", "llava": "llava"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_boxes_equal_the_recorded_ones(case: dict[str, Any]) -> None:
    regions = regions_from_map(
        MAPS[f"{case['name']}.logits"],
        tuple(case["src_wh"]),
        case["conf_thresh"],
        max_regions=2 if case.get("upscale_method") == "bbox" else 1,
        family=FAMILY_OF_VARIANT[case["variant"]],
    )
    found = sorted((list(region.cells), list(region.box)) for region in regions)
    assert found == sorted(recorded_boxes(case))


def recorded_boxes(case: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """Cells and pixels, without boxes in LLaVA's padding: those were used although empty."""
    if case["roi"] == "none":
        return []
    if case["variant"] == "qwen":
        return [(case["bbox_cells_xyxy"], case["bbox_src_xyxy"])]
    boxes = zip(case["bbox_cells_used"], case["bbox_src_xyxy"], strict=True)
    return [(c, box) for c, box in boxes if box[0] < box[2] and box[1] < box[3]]


maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-30, 30, width=32),
)
sizes = st.tuples(st.integers(1, 6000), st.integers(1, 6000))


@given(
    maps,
    sizes,
    st.floats(0.01, 0.99),
    st.integers(1, 4),
    st.sampled_from([family.name for family in FAMILIES]),
)
def test_every_box_lies_inside_the_picture(
    logits: np.ndarray[Any, Any],
    size: tuple[int, int],
    threshold: float,
    max_regions: int,
    family: str,
) -> None:
    regions = regions_from_map(logits, size, threshold, max_regions, family)
    assert len(regions) <= max_regions
    for region in regions:
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= size[0]
        assert 0 <= y0 < y1 <= size[1]
        assert region.score > threshold * (1 - 1e-6)


def test_two_far_apart_peaks_make_two_regions_or_one_around_both() -> None:
    logits = np.full((12, 12), -8.0, dtype=np.float32)
    logits[1:3, 1:3] = 8
    logits[9:11, 9:11] = 6
    around_both = regions_from_map(logits, (1200, 1200), 0.5)
    each = regions_from_map(logits, (1200, 1200), 0.5, max_regions=2)
    assert [region.cells for region in around_both] == [(1, 1, 11, 11)]
    assert [region.cells for region in each] == [(1, 1, 3, 3), (9, 9, 11, 11)]


@pytest.mark.parametrize(("gap", "regions"), [(1, 1), (2, 1), (3, 2)])
def test_close_components_are_one_region(gap: int, regions: int) -> None:
    """Blurring widens each peak by a cell on every side: `gap` is what is left between them."""
    logits = np.full((12, 16), -8.0, dtype=np.float32)
    logits[4:7, 2:4] = logits[4:7, 6 + gap : 8 + gap] = 8
    found = regions_from_map(logits, (1600, 1200), 0.1, max_regions=4)
    assert len(found) == regions
    assert {region.cells[1] for region in found} == {3}


@pytest.mark.parametrize(
    ("logits", "size", "options", "message"),
    [
        (np.zeros((4, 4)), (10, 10), {"family": "none"}, "unknown family"),
        (np.zeros((4, 4)), (10, 10), {"max_regions": 0}, "max_regions"),
        (np.zeros((4, 4)), (0, 10), {}, "no area"),
        (np.zeros(4), (10, 10), {}, "RoI map"),
        (np.full((4, 4), np.nan), (10, 10), {}, "RoI map"),
    ],
)
def test_what_makes_no_sense_is_refused(
    logits: np.ndarray[Any, Any], size: tuple[int, int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regions_from_map(logits, size, **options)
