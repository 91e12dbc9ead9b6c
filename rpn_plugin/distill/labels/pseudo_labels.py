"""Pseudo-labels: a model's own response-to-image attention, denoised into foreground, background
and ignore (paper section 3; released `make_pseudo_label_*`).

Cells that draw attention whatever the question is (sinks) are taken out; what stands clear of the
rest is foreground; what lies outside a box around it and is nearly unattended is background; the
undecided remainder, and whole maps whose attention is weak or everywhere, train nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rpn_plugin.regions.blur import blur3x3

FOREGROUND, BACKGROUND, IGNORE = 1, 0, -100


@dataclass(frozen=True)
class LabelRules:
    """The thresholds of one family's released labelling script.

    `sink`: attention of a sink head above which a cell is a sink. `foreground` and `background`:
    shares of the map's peak. `weakest_peak`: peaks below train nothing. `largest_box`: share of the
    grid that a foreground box must stay under. `blur_box`: the box is drawn around the blurred map,
    one cell wider on each side.
    """

    sink: float
    weakest_peak: float
    blur_box: bool
    extra_padding_row: bool
    foreground: float = 0.2
    background: float = 0.1
    largest_box: float = 0.5


RULES = {
    "qwen2_5_vl": LabelRules(sink=1e-2, weakest_peak=5e-3, blur_box=True, extra_padding_row=True),
    "llava": LabelRules(sink=1e-3, weakest_peak=0.0, blur_box=False, extra_padding_row=False),
}
# Nothing was released for these.
RULES["qwen3_vl"] = RULES["qwen2_5_vl"]
RULES["deepseek_vl"] = RULES["deepseek_vl_hybrid"] = replace(
    RULES["qwen2_5_vl"], extra_padding_row=False
)


@dataclass(frozen=True)
class LabelOptions:
    """Departures from the released labels, each named for what it does differently.

    `ignore_sinks`: sinks train nothing; released, those outside the box are background although
    they say nothing about the question. `exact_padding`: padding is known on grids of any shape,
    and is as wide below as above; released, square grids only, and Qwen's has a row too many.
    `relative_peak`: a map is weak if its peak is under RELATIVE_PEAK times its mean, however many
    cells it has; released, Qwen's is weak below 5e-3 and LLaVA's never. `foreground`: another share
    of the peak.
    """

    ignore_sinks: bool = False
    exact_padding: bool = False
    relative_peak: bool = False
    foreground: float | None = None


RELATIVE_PEAK = 4.0
"""Maps that peak below so many times their mean are taken for noise by `relative_peak`."""

PUBLISHED = LabelOptions()


def label_options(names: str, foreground: float | None = None) -> LabelOptions:
    """Options by comma-separated names; ValueError for a name there is none of."""
    known = ("ignore_sinks", "exact_padding", "relative_peak")
    chosen = [name for name in (part.strip() for part in names.split(",")) if name]
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"unknown label option {unknown[0]!r}; known: {', '.join(known)}")
    return LabelOptions(**dict.fromkeys(chosen, True), foreground=foreground)


@dataclass(frozen=True)
class PseudoLabels:
    """`labels`: int32 [rows, cols] of 1, 0, -100. `box`: inclusive [row0, col0, row1, col1]."""

    labels: NDArray[np.int32]
    box: tuple[int, int, int, int]


def pseudo_labels(
    attention: ArrayLike,
    sink_attention: ArrayLike | None = None,
    content_size: tuple[int, int] | None = None,
    family: str = "qwen2_5_vl",
    options: LabelOptions = PUBLISHED,
) -> PseudoLabels:
    """Labels for one map of response-to-image attention.

    `attention`: float [rows, cols], or [cells] for a square grid; compared in its own dtype.
    `sink_attention`: the same shape, from heads that attend to sinks; None knows no sinks.
    `content_size`: (width, height) of a picture that was centred on a square canvas: the cells of
    its padding are known background. `options`: departures from the released labels. Raises
    ValueError on shapes that do not fit or an unknown family.
    """
    if family not in RULES:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(RULES)}")
    rules = RULES[family]
    raw = _as_grid(attention)
    sinks = np.zeros(raw.shape, dtype=bool)
    if sink_attention is not None:
        sinks = _as_grid(sink_attention) >= rules.sink
    if sinks.shape != raw.shape:
        raise ValueError(f"attention is {raw.shape} cells, sink_attention {sinks.shape}")
    padding = _padding(raw.shape, content_size, rules, options)

    desinked = np.where(sinks, 0, raw)
    salient = np.where(padding, 0, desinked)
    peak = salient.max()
    foreground = salient > (options.foreground or rules.foreground) * peak
    salient = np.where(foreground, salient, 0)
    box = _bounding_box((blur3x3(salient) if rules.blur_box else salient) > 0)

    background = (desinked < rules.background * peak) & ~_inside(box, raw.shape)
    labels = np.full(raw.shape, IGNORE, dtype=np.int32)
    weakest = RELATIVE_PEAK * raw.mean() if options.relative_peak else rules.weakest_peak
    if peak >= weakest and _area(box) < rules.largest_box * raw.size:
        labels[background | padding] = BACKGROUND
        labels[foreground] = FOREGROUND
        if options.ignore_sinks:
            labels[sinks & ~padding] = IGNORE
    return PseudoLabels(labels, box)


def _as_grid(values: ArrayLike) -> NDArray[np.floating]:
    grid: NDArray[np.floating] = np.asarray(values)
    if not np.issubdtype(grid.dtype, np.floating):
        grid = grid.astype(np.float64)
    if grid.ndim == 1 and math.isqrt(grid.size) ** 2 == grid.size:
        grid = grid.reshape(math.isqrt(grid.size), -1)
    if grid.ndim != 2 or grid.size == 0:
        raise ValueError(f"attention must be [rows, cols] or a square [cells], got {grid.shape}")
    return grid


def _padding(
    shape: tuple[int, ...],
    content_size: tuple[int, int] | None,
    rules: LabelRules,
    options: LabelOptions,
) -> NDArray[np.bool_]:
    """Cells that lie beside a picture of `content_size` centred on the grid."""
    padding = np.zeros(shape, dtype=bool)
    if content_size is None:
        return padding
    if shape[0] != shape[1] and not options.exact_padding:
        raise ValueError(f"padding is known for square grids only, got {shape} cells")
    width, height = content_size
    padding[:] = True
    if options.exact_padding:
        # The picture fills the grid in one direction and is centred in the other.
        fit = min(shape[0] / height, shape[1] / width)
        padding[_centred(height * fit, shape[0]), _centred(width * fit, shape[1])] = False
    else:
        rows = _content_cells(height / max(content_size), shape[0], rules)
        cols = _content_cells(width / max(content_size), shape[1], rules)
        padding[rows, cols] = False
    return padding


def _centred(filled: float, cells: int) -> slice:
    """The cells that lie at least half under the middle `filled` of `cells`; never none."""
    start = min(round((cells - filled) / 2), (cells - 1) // 2)
    return slice(start, cells - start)


def _content_cells(share: float, cells: int, rules: LabelRules) -> slice:
    filled = max(1, int(share * cells))
    start = (cells - filled) // 2
    stop = filled + math.ceil((cells - filled) / 2) if rules.extra_padding_row else start + filled
    return slice(start, stop)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Inclusive box around the true cells; the whole grid if there are none."""
    if not mask.any():
        return 0, 0, mask.shape[0] - 1, mask.shape[1] - 1
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])


def _inside(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=bool)
    inside[box[0] : box[2] + 1, box[1] : box[3] + 1] = True
    return inside


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
