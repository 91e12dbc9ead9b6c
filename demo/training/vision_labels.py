"""Dense labels of a view, for the vision stage: what is on every cell and every patch.

Cells (one visual token each) are labelled with the colour and the code of the thing on them,
patches (quarters of cells) with the digits on them. Codes too small to read have no label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.architecture import PATCH
from demo.pages import LOST_PX, Page
from demo.pictures.questions import COLOURS
from demo.pictures.views import View, scale
from rpn_plugin.images.grids import CELL

NAMES = tuple(COLOURS)
NOTHING = len(NAMES)
NO_DIGIT = 10
IGNORE = -100

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DenseLabels:
    """`cells` int64 [rows * cols, 4]: name, tens, units, text height of the thing below.

    `patches` int64 [4 * rows * cols, 2]: tens and units digit written on each patch, in the order
    of the image processor (2 x 2 blocks, row by row). IGNORE where nothing is to be learnt.
    """

    cells: Ints
    patches: Ints


def dense_labels(page: Page, view: View) -> DenseLabels:
    """The labels of one view of a page."""
    rows, cols = view.grid
    cells = np.full((rows, cols, 4), IGNORE, np.int64)
    cells[..., 0] = NOTHING
    patches = np.full((2 * rows, 2 * cols, 2), NO_DIGIT, np.int64)
    best = np.zeros((rows, cols))
    scale_x, scale_y = scale(view)
    for thing in page.things:
        box = _in_view(thing.box, view, scale_x, scale_y)
        text = _in_view(thing.text_box, view, scale_x, scale_y)
        share = _shares(box, rows, cols)
        tall = round(text[3] - text[1])
        readable = text[3] - text[1] >= LOST_PX and _inside(text, view.pixels.shape)
        tens, units = int(thing.code[0]), int(thing.code[1])
        digits = (tens, units) if readable else (IGNORE, IGNORE)
        cells[(share > best) & (share > 0.06)] = (IGNORE, IGNORE, IGNORE, 0)
        cells[(share > best) & (share > 0.15)] = (NAMES.index(thing.name), *digits, tall)
        best = np.maximum(best, share)
        _mark_digits(patches, text, digits)
    blocks = patches.reshape(rows, 2, cols, 2, 2).transpose(0, 2, 1, 3, 4)
    return DenseLabels(cells.reshape(-1, 4), np.ascontiguousarray(blocks).reshape(-1, 2))


def _in_view(
    box: tuple[int, int, int, int], view: View, scale_x: float, scale_y: float
) -> tuple[float, float, float, float]:
    return (
        (box[0] - view.box[0]) * scale_x,
        (box[1] - view.box[1]) * scale_y,
        (box[2] - view.box[0]) * scale_x,
        (box[3] - view.box[1]) * scale_y,
    )


def _inside(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> bool:
    """Whether `box` lies in a picture of `shape`, give or take a pixel."""
    return box[0] >= -1 and box[1] >= -1 and box[2] <= shape[1] + 1 and box[3] <= shape[0] + 1


def _shares(box: tuple[float, float, float, float], rows: int, cols: int) -> NDArray[np.float64]:
    """How much of each cell `box` covers, 0 to 1, [rows, cols]."""
    left = np.arange(cols) * CELL
    top = np.arange(rows) * CELL
    width = np.clip(np.minimum(box[2], left + CELL) - np.maximum(box[0], left), 0, None)
    height = np.clip(np.minimum(box[3], top + CELL) - np.maximum(box[1], top), 0, None)
    shares: NDArray[np.float64] = np.outer(height, width) / CELL**2
    return shares


def _mark_digits(
    patches: Ints, text: tuple[float, float, float, float], digits: tuple[int, int]
) -> None:
    """Marks the patches on a digit, and the one each digit's middle lies on."""
    middle = (text[0] + text[2]) / 2
    halves = ((text[0], middle), (middle, text[2]))
    rows, cols = patches.shape[:2]
    on_y = _on(rows, text[1], text[3])
    for place, ((left, right), digit) in enumerate(zip(halves, digits, strict=True)):
        on_x = _on(cols, left, right)
        patches[..., place][on_y[:, None] & on_x[None, :]] = digit


def _on(patches: int, low: float, high: float) -> NDArray[np.bool_]:
    """Which of `patches` in a line have their middle in [low, high), or its middle in them."""
    centres = (np.arange(patches) + 0.5) * PATCH
    inside = (centres >= low) & (centres < high)
    marked: NDArray[np.bool_] = inside | (np.abs(centres - (low + high) / 2) <= PATCH / 2)
    return marked
