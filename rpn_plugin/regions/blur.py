"""Gaussian blurs of RoI maps, as the released implementations smooth them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def blur3x3(grid: NDArray[np.floating]) -> NDArray[np.floating]:
    """`grid` [rows, cols] blurred over 3 x 3 cells with sigma 1: see `gaussian_blur`."""
    return gaussian_blur(grid, 1.0, 3)


def grid_blur(grid: NDArray[np.floating]) -> NDArray[np.floating]:
    """`grid` [rows, cols] with the blur of Vision-RL2, which is wider for larger grids.

    Sigma is 1 up to 512 cells, 2 at 2048 and at most 4; the kernel spans 3 sigma.
    """
    cells = grid.size
    sigma = min(max(1 + (cells - 512) / 1536, 1.0), 2.0)
    if cells > 2048:
        sigma = min(2 * math.sqrt(cells / 2048), 4.0)
    return gaussian_blur(grid, sigma, max(3, round(3 * sigma)) | 1)


def gaussian_blur(grid: NDArray[np.floating], sigma: float, size: int) -> NDArray[np.floating]:
    """`grid` [rows, cols] blurred over `size` x `size` cells (odd), borders reflected, in its own
    dtype.

    Equals torchvision's `gaussian_blur`. That function refuses a side of too few cells to reflect;
    here the kernel is at most 2 x side - 1 cells there.
    """
    down, across = (_weights(min(size, 2 * side - 1), sigma, grid.dtype) for side in grid.shape)
    kernel = np.outer(down, across).astype(grid.dtype)
    margins = [(len(down) // 2,) * 2, (len(across) // 2,) * 2]
    padded = np.pad(grid, margins, mode="reflect")
    rows, cols = grid.shape
    blurred = np.zeros_like(grid)
    for dy in range(len(down)):
        for dx in range(len(across)):
            blurred += kernel[dy, dx] * padded[dy : dy + rows, dx : dx + cols]
    return blurred


def _weights(size: int, sigma: float, dtype: np.dtype[np.floating]) -> NDArray[np.floating]:
    offsets = np.arange(size) - size // 2
    weights: NDArray[np.floating] = np.exp(-0.5 * (offsets / sigma) ** 2).astype(dtype)
    weights /= weights.sum()
    return weights
