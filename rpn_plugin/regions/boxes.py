"""From a RoI map to boxes: sigmoid, blur, threshold, boxes (paper section 3, released `roi_post`).

Pure numpy. The rules are those of the released code (`regions/rules.py`), so recorded cases agree
exactly. One region is one box around everything above the threshold; `max_regions` > 1 makes one
box for each 8-connected component instead, close ones joined where the family says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.special import expit

from rpn_plugin.families import family_named
from rpn_plugin.families.base import BoxRules, ComponentRules, ImageGrid
from rpn_plugin.regions.blur import blur3x3, grid_blur
from rpn_plugin.regions.rules import box_rules

Box = tuple[int, int, int, int]
"""Half-open [x0, y0, x1, y1]."""


@dataclass(frozen=True)
class Region:
    """A place in a picture that the question is about.

    `box` is half-open [x0, y0, x1, y1] in pixels of the original picture; `cells` the same in cells
    of the RoI map; `score` in (0, 1) is the blurred map's peak inside it.
    """

    box: Box
    cells: Box
    score: float


def regions_from_map(
    logits: ArrayLike,
    image_size: tuple[int, int],
    threshold: float | None = None,
    max_regions: int = 1,
    family: str = "qwen2_5_vl",
    rules: str | None = None,
) -> list[Region]:
    """The regions of a RoI map, best score first; an empty list where nothing stands out.

    `logits`: float [rows, cols], one per merged image token. `image_size`: (width, height) of the
    original picture in pixels. `threshold`: a cell belongs to a region if its blurred probability
    is above it; None is the rules' own. `rules` names a release (`regions/rules.py`), None the
    first. `family` says how a cell lies on the picture, and with `sdrpn` rules which boxes are
    dropped.

    Raises ValueError for a map that is not two-dimensional, finite and non-empty, for a picture
    without area, `max_regions` < 1, or an unknown `family` or `rules`.
    """
    box, image = box_rules(family_named(family), rules, threshold), family_named(family).image
    if max_regions < 1:
        raise ValueError(f"max_regions must be at least 1, got {max_regions}")
    if min(image_size) < 1:
        raise ValueError(f"the picture has no area: {image_size}")
    blurred = _blurred(logits, box)
    mask = _mask(blurred, box)
    least = box.least_side if box.grow else 0
    regions = [
        Region(cells_to_pixels(cells, mask.shape, image_size, image, least), cells, score)
        for cells, score in _scored_boxes(mask, blurred, box, max_regions)
    ]
    usable = [region for region in regions if box.grow or _is_usable(region.box, box)]
    return sorted(usable, key=lambda region: -region.score)[:max_regions]


def blurred_map(
    logits: ArrayLike,
    family: str = "qwen2_5_vl",
    rules: str | None = None,
    threshold: float | None = None,
) -> NDArray[np.floating]:
    """The probabilities float32 [rows, cols] that a threshold is applied to.

    Raises ValueError as `regions_from_map` does.
    """
    return _blurred(logits, box_rules(family_named(family), rules, threshold))


def _blurred(logits: ArrayLike, rules: BoxRules) -> NDArray[np.floating]:
    blur = grid_blur if rules.grid_blur else blur3x3
    return blur(_without_sinks(_probabilities(logits), rules))


def _mask(blurred: NDArray[np.floating], rules: BoxRules) -> NDArray[np.bool_]:
    """The cells that belong to regions."""
    if rules.peak is None:
        return blurred > np.float32(rules.threshold)
    peak, mean = float(blurred.max()), float(blurred.mean())
    if peak < rules.peak.least or peak / (mean + 1e-8) < rules.peak.least_contrast:
        return np.zeros(blurred.shape, dtype=bool)
    return blurred > np.float32(rules.peak.share * peak)


def _probabilities(logits: ArrayLike) -> NDArray[np.float32]:
    grid = np.asarray(logits, dtype=np.float32)
    if grid.ndim != 2 or grid.size == 0 or not np.isfinite(grid).all():
        raise ValueError(f"a RoI map is a finite [rows, cols] array, got shape {grid.shape}")
    probabilities: NDArray[np.float32] = expit(grid)
    return probabilities


def _without_sinks(probabilities: NDArray[np.float32], rules: BoxRules) -> NDArray[np.float32]:
    """Large grids collect attention sinks along the top-left edges: zero a quarter of each."""
    rows, cols = probabilities.shape
    if rules.sink_grid is not None and rows * cols > rules.sink_grid:
        probabilities[: max(rules.least_sink, rows // 4), 0] = 0
        probabilities[0, : max(rules.least_sink, cols // 4)] = 0
    return probabilities


def _scored_boxes(
    mask: NDArray[np.bool_], blurred: NDArray[np.floating], rules: BoxRules, max_regions: int
) -> list[tuple[Box, float]]:
    """Boxes in cells with the peak of what they were drawn around.

    A family that filters components shows one box around everything where several are left, and
    none where more are left than were asked for: then the map points nowhere in particular.
    """
    labels = _components(mask, rules.join)
    boxes: list[tuple[Box, float]] = []
    for number, piece in enumerate(ndimage.find_objects(labels), 1):
        own = labels[piece] == number
        box = _component_box(_as_box(piece), int(own.sum()), rules.components, mask.shape)
        if box is not None:
            boxes.append((box, float(blurred[piece][own].max())))
    if max_regions == 1 and len(boxes) > 1:
        return _around_everything(mask, blurred)
    if rules.components is not None and len(boxes) > max_regions:
        return []
    return boxes


def _components(mask: NDArray[np.bool_], join: int) -> NDArray[np.int32]:
    """The number of each cell's component, from 1; 0 beside them."""
    touching = np.ones((3, 3), dtype=bool)
    near = np.ones((1 + join, 1 + join), dtype=bool)
    labels, _ = ndimage.label(ndimage.binary_dilation(mask, near), structure=touching)
    components: NDArray[np.int32] = np.where(mask, labels, 0)
    return components


def _around_everything(
    mask: NDArray[np.bool_], blurred: NDArray[np.floating]
) -> list[tuple[Box, float]]:
    (piece,) = ndimage.find_objects(mask.astype(np.int8))
    return [(_as_box(piece), float(blurred[piece].max()))]


def _as_box(piece: tuple[slice, slice]) -> Box:
    y, x = piece
    return int(x.start), int(y.start), int(x.stop), int(y.stop)


def _component_box(
    box: Box, cells: int, rules: ComponentRules | None, grid: tuple[int, ...]
) -> Box | None:
    """The box of a component of so many cells; None if it does not count.

    A small one's is at least 3 cells a side about its centre, as released code has it: the sides
    count one more than the box, and the far ones stop one cell before the border.
    """
    if rules is None:
        return box
    if not rules.noise < cells <= rules.largest:
        return None
    if cells > rules.small:
        return box
    x0, x1 = _grown_span(box[0], box[2], grid[1])
    y0, y1 = _grown_span(box[1], box[3], grid[0])
    return x0, y0, x1, y1


def _grown_span(start: int, stop: int, limit: int) -> tuple[int, int]:
    centre, half = (start + stop) / 2, max(3, stop - start + 1) / 2
    return max(0, int(centre - half)), min(limit - 1, int(centre + half))


def cells_to_pixels(
    cells: Box,
    grid: tuple[int, ...],
    image_size: tuple[int, int],
    image: ImageGrid,
    least_side: int = 0,
) -> Box:
    """A half-open box in cells of `grid` (rows, cols), as pixels of a picture of `image_size`
    (width, height), clamped to the picture and truncated; in float32, as released code has it.

    Sides of fewer than `least_side` pixels are grown about their centre and slid into the picture.
    """
    view = np.array([grid[1], grid[0]] * 2) * image.cell
    size = np.array(image_size * 2)
    corners = np.array(cells, dtype=np.float32) * np.float32(image.cell)
    if image.square is None:  # the view is the whole picture, each side scaled for itself
        pixels = corners * (size / view).astype(np.float32)
    else:  # the picture lies in the middle of a square
        ratio = (view / size).min()
        margins = (view - (size * ratio).astype(int)) / 2
        pixels = (corners - margins.astype(np.float32)) / np.float32(ratio)
    left, right = _least_span(pixels[0], pixels[2], least_side, image_size[0])
    top, bottom = _least_span(pixels[1], pixels[3], least_side, image_size[1])
    clipped = np.clip(np.array([left, top, right, bottom], dtype=np.float32), 0, size)
    x0, y0, x1, y1 = clipped.astype(int).tolist()
    return x0, y0, x1, y1


def _least_span(
    start: np.float32, stop: np.float32, least: int, limit: int
) -> tuple[np.float32, np.float32]:
    if stop - start >= least:
        return start, stop
    centre, half = (start + stop) / np.float32(2), np.float32(least / 2)
    start, stop = centre - half, centre + half
    if start < 0:
        start, stop = np.float32(0), np.float32(least)
    if stop > limit:
        start, stop = np.float32(limit - least), np.float32(limit)
    return start, stop


def _is_usable(box: Box, rules: BoxRules) -> bool:
    short, long = sorted((box[2] - box[0], box[3] - box[1]))
    return short >= rules.least_side and long <= short * rules.max_aspect
