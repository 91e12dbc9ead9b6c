"""The 3 x 3 Gaussian blur (sigma 1) that the paper's implementation smooths maps with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def blur3x3(grid: NDArray[np.floating]) -> NDArray[np.floating]:
    """`grid` [rows, cols] blurred with reflected borders, in its own dtype.

    Equals torchvision's `gaussian_blur(kernel_size=3, sigma=1)`; a single row or column, which
    that function refuses, is reflected onto itself.
    """
    edge = np.exp(-0.5)
    weights = np.array([edge, 1.0, edge], dtype=grid.dtype) / (1.0 + 2.0 * edge)
    kernel = np.outer(weights, weights).astype(grid.dtype)
    padded = np.pad(grid, 1, mode="reflect")
    rows, cols = grid.shape
    blurred = np.zeros_like(grid)
    for dy in range(3):
        for dx in range(3):
            blurred += kernel[dy, dx] * padded[dy : dy + rows, dx : dx + cols]
    return blurred
