"""Profiles: the channels of a curve on a logarithmic grid of iterations, one robust value per bin.

Training slows down as it goes, so phases are read on a log axis: 50 bins per decade. A bin holds the median of its
captures, which two-level flicker and single spikes hardly move; bins without captures are left out, so that a
sparse curve has few bins rather than invented ones. What still sticks out of its neighbours is clipped to
them (Hampel, "The influence curve and its role in robust estimation", 1974).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import channels_of
from phasecore.phases.curve import Curve

FloatArray = npt.NDArray[np.float64]

BINS_PER_DECADE = 50
STEP = 1.0 / BINS_PER_DECADE
NEIGHBOURS = 3
TOLERANCE = 3.0 * 1.4826
LEAST_DEVIATION = 0.02


class Profile(NamedTuple):
    """Channels on the grid.

    Args:
        times: mean log10(iteration) of the captures in each occupied bin, increasing, shape `(bins,)`.
        values: the channels, shape `(channels, bins)`, NaN where absent.
    """

    times: FloatArray
    values: FloatArray


def logarithmic_time(iteration: npt.ArrayLike) -> FloatArray:
    """Return log10(iteration), and 0 for iteration 0."""
    return np.asarray(np.log10(np.maximum(iteration, 1.0)))


def bin_of(times: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the bin of each logarithmic time, same shape.

    Example:
        >>> bin_of([0.0, 1.0, 1.0199]).tolist()
        [0, 50, 50]
    """
    return np.floor(np.asarray(times) * BINS_PER_DECADE + 1e-6).astype(np.int64)


def profile_of(curve: Curve, channels: FloatArray | None = None) -> Profile:
    """Return the profile of a whole curve; captures that measured nothing are left out.

    Args:
        curve: the curve.
        channels: those of it, where they are known already.

    Example:
        >>> profile_of(Curve.from_columns({"iteration": [100, 101, 102, 200], "snr": [1, 1e4, 10, 10]})).values[0]
        array([1., 1.])
    """
    channels = channels_of(curve) if channels is None else channels
    measured = np.isfinite(channels).any(axis=0)
    times, channels = logarithmic_time(curve.iteration[measured]), channels[:, measured]
    occupied, members = np.unique(bin_of(times), return_inverse=True)
    counts = np.bincount(members, minlength=occupied.size)
    mean_times = np.bincount(members, weights=times, minlength=occupied.size) / counts
    values = np.full((channels.shape[0], occupied.size), np.nan)
    for row, channel in zip(values, channels, strict=True):
        row[:] = _median_per_bin(channel, members, occupied.size)
    return Profile(mean_times, values)


def _median_per_bin(channel: FloatArray, members: npt.NDArray[np.intp], bins: int) -> FloatArray:
    finite = np.isfinite(channel)
    values, members = channel[finite], members[finite]
    order = np.lexsort((values, members))
    values = values[order]
    counts = np.bincount(members, minlength=bins)
    first = np.cumsum(counts) - counts
    medians = np.full(bins, np.nan)
    filled = counts > 0
    low, high = (first + (counts - 1) // 2)[filled], (first + counts // 2)[filled]
    medians[filled] = 0.5 * (values[low] + values[high])
    return medians


def clipped(values: FloatArray) -> FloatArray:
    """Clip every bin to within three robust standard deviations of the median of itself and its neighbours.

    Args:
        values: channels, shape `(channels, bins)`, NaN where absent.

    Example:
        >>> round(float(clipped(np.array([[0.0, 0.1, 0.0, 9.0, 0.1, 0.0, 0.1]])).max()), 2)
        0.54
    """
    rows, bins = values.shape
    padded = np.full((rows, bins + 2 * NEIGHBOURS), np.nan)
    padded[:, NEIGHBOURS:-NEIGHBOURS] = values
    windows = np.stack([padded[:, shift : shift + bins] for shift in range(2 * NEIGHBOURS + 1)])
    middle = _middle(windows)
    spread = _middle(np.abs(windows - middle))
    limit = TOLERANCE * np.maximum(spread, LEAST_DEVIATION)
    return np.asarray(np.minimum(np.maximum(values, middle - limit), middle + limit))


def _middle(windows: FloatArray) -> FloatArray:
    """Return the (lower) median along the first axis, leaving NaN out."""
    ordered = np.sort(windows, axis=0)
    recorded = (ordered == ordered).sum(axis=0)
    middle = ordered[0]
    for place in range(1, NEIGHBOURS + 1):
        middle = np.where(recorded > 2 * place, ordered[place], middle)
    return np.asarray(middle)
