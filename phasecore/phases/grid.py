"""Curves on a logarithmic grid: sums per bin of log10(iteration), windowed ratios, sustained levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

BINS_PER_DECADE = 50
STEP = 1.0 / BINS_PER_DECADE


def bin_of(iteration: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the bin of each iteration: `floor(50 log10(max(iteration, 1)))`, same shape."""
    return np.floor(BINS_PER_DECADE * np.log10(np.maximum(iteration, 1.0)) + 1e-9).astype(np.int64)


def windowed(sums: FloatArray, half_width: int) -> FloatArray:
    """Return sums over `2 half_width + 1` bins, shape as given along the last axis."""
    total = np.cumsum(sums, axis=-1)
    size = total.shape[-1]
    high = np.minimum(np.arange(size) + half_width, size - 1)
    low = np.arange(size) - half_width - 1
    return total[..., high] - np.where(low >= 0, total[..., np.maximum(low, 0)], 0.0)


def sliding(values: FloatArray, width: int, lowest: bool) -> FloatArray:
    """Return the minimum or maximum over `width` bins centred on each bin; the ends are repeated."""
    before = (width - 1) // 2
    padded = np.pad(values, (before, width - 1 - before), mode="edge")
    view = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.asarray(view.min(axis=-1) if lowest else view.max(axis=-1))


def opening(values: FloatArray, width: int) -> FloatArray:
    """Return the morphological opening: what stays high for at least `width` bins."""
    return sliding(sliding(values, width, lowest=True), width, lowest=False)
