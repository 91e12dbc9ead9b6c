"""The window in which a map of relative attention is highest: ViCrop's search (arXiv 2502.17422).

Pure numpy; the rule is that of the paper's released code.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Cells = tuple[int, int, int, int]
"""Half-open [x0, y0, x1, y1] in cells of the map."""

_RATIOS = (1.0, 1.2, 1.4, 1.6, 1.8, 2.0)


def best_window(attention: NDArray[np.floating], side: float) -> Cells:
    """The window of `attention` [rows, cols] with a high sum that stands out most.

    Windows are squares of one to two times `side` cells, and at least two. Of each size the one
    with the highest sum is taken; of these, the one whose mean exceeds that of its neighbours one
    cell away by most.
    """
    rows, cols = attention.shape
    windows: list[tuple[float, Cells]] = []
    for ratio in _RATIOS:
        height, width = (min(max(2, int(side * ratio)), limit) for limit in (rows, cols))
        if (height, width) == (rows, cols):
            continue
        sums = sliding_window_view(attention, (height, width)).sum(axis=(2, 3))
        y, x = (int(place) for place in np.unravel_index(sums.argmax(), sums.shape))
        stands_out = (sums[y, x] - _beside(sums, y, x)) / (width * height)
        windows.append((float(stands_out), (x, y, x + width, y + height)))
    return max(windows, key=lambda one: one[0])[1] if windows else (0, 0, cols, rows)


def _beside(sums: NDArray[np.floating], y: int, x: int) -> float:
    """The mean sum of the windows one cell up, down, left and right, as far as these exist."""
    places = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
    rows, cols = sums.shape
    values = [sums[place] for place in places if 0 <= place[0] < rows and 0 <= place[1] < cols]
    return float(np.mean(values))
