"""From a RoI map to boxes: sigmoid, blur, threshold, box (paper section 3, released `roi_post`).

Pure numpy. The rules are those of the released Qwen2.5-VL code, so recorded cases agree exactly;
where it makes one box around everything above the threshold, `max_regions` > 1 makes one box for
each 8-connected component instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from rpn_plugin.gaussian import blur3x3

DEFAULT_THRESHOLD = 0.1
"""The released evaluation's default for Qwen2.5-VL."""

_SINK_GRID_CELLS = 768
_MIN_BOX_SIDE = 28
_MAX_BOX_ASPECT = 200

FAMILIES = ("qwen2_5_vl",)


@dataclass(frozen=True)
class Region:
    """A place in a picture that the question is about.

    `box` is half-open [x0, y0, x1, y1] in pixels of the original picture; `cells` the same in cells
    of the RoI map; `score` in (0, 1) is the blurred map's peak inside it.
    """

    box: tuple[int, int, int, int]
    cells: tuple[int, int, int, int]
    score: float


def regions_from_map(
    logits: ArrayLike,
    image_size: tuple[int, int],
    threshold: float = DEFAULT_THRESHOLD,
    max_regions: int = 1,
    family: str = "qwen2_5_vl",
) -> list[Region]:
    """The regions of a RoI map, best score first; an empty list where nothing stands out.

    `logits`: float [rows, cols], one per merged image token. `image_size`: (width, height) of the
    original picture in pixels. Boxes under 28 pixels on a side or longer than 200 : 1 are dropped,
    as the released code drops them: there the base view was as sharp as the picture.

    Raises ValueError for a map that is not two-dimensional, finite and non-empty, for a picture
    without area, `max_regions` < 1, or an unknown `family`.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    if max_regions < 1:
        raise ValueError(f"max_regions must be at least 1, got {max_regions}")
    if min(image_size) < 1:
        raise ValueError(f"the picture has no area: {image_size}")
    probabilities = blur3x3(_without_sinks(_probabilities(logits)))
    boxes = _boxes_in_cells(probabilities > np.float32(threshold), max_regions)
    regions = [_region(probabilities, cells, image_size) for cells in boxes]
    usable = [region for region in regions if _is_usable(region.box)]
    return sorted(usable, key=lambda region: -region.score)[:max_regions]


def _probabilities(logits: ArrayLike) -> NDArray[np.float32]:
    grid = np.asarray(logits, dtype=np.float32)
    if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all():
        raise ValueError(f"a RoI map is a finite [rows, cols] array, got shape {grid.shape}")
    # exp of a non-positive number cannot overflow, whichever sign the logit has.
    small = np.exp(-np.abs(grid))
    return np.where(grid >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def _without_sinks(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Large grids collect attention sinks along the top-left edges: zero a quarter of each."""
    rows, cols = probabilities.shape
    if rows * cols > _SINK_GRID_CELLS:
        probabilities[: rows // 4, 0] = 0
        probabilities[0, : cols // 4] = 0
    return probabilities


def _boxes_in_cells(mask: NDArray[np.bool_], max_regions: int) -> list[tuple[int, int, int, int]]:
    if not mask.any():
        return []
    if max_regions == 1:
        slices = ndimage.find_objects(mask.astype(np.int8))
    else:
        components, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
        slices = ndimage.find_objects(components)
    return [(x.start, y.start, x.stop, y.stop) for y, x in slices]


def _region(
    probabilities: NDArray[np.floating],
    cells: tuple[int, int, int, int],
    image_size: tuple[int, int],
) -> Region:
    x0, y0, x1, y1 = cells
    return Region(
        box=cells_to_pixels(cells, probabilities.shape, image_size),
        cells=cells,
        score=float(probabilities[y0:y1, x0:x1].max()),
    )


def cells_to_pixels(
    cells: tuple[int, int, int, int], grid: tuple[int, ...], image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A half-open box in cells of `grid` (rows, cols), as pixels truncated in float32."""
    rows, cols = grid
    width, height = image_size
    cell = np.float32(_MIN_BOX_SIDE)
    scale_x = np.float32(width / (cols * _MIN_BOX_SIDE))
    scale_y = np.float32(height / (rows * _MIN_BOX_SIDE))

    def pixel(cell_index: int, scale: np.float32, limit: int) -> int:
        return int(np.clip(np.float32(cell_index) * cell * scale, 0, limit))

    x0, y0, x1, y1 = cells
    return (
        pixel(x0, scale_x, width),
        pixel(y0, scale_y, height),
        pixel(x1, scale_x, width),
        pixel(y1, scale_y, height),
    )


def _is_usable(box: tuple[int, int, int, int]) -> bool:
    short, long = sorted((box[2] - box[0], box[3] - box[1]))
    return short >= _MIN_BOX_SIDE and long / short <= _MAX_BOX_ASPECT
