"""The knee of a fall, with hindsight: a level, a ramp down and a level, fitted by least squares.

The steps of `fall` say that a fall has ended without looking ahead, and are late or early where noise is strong. Once
the rest of the curve is known, every pair of a beginning and an end of the ramp is tried, and the end that fits best
is taken, with those that fit about as well as its interval (profile likelihood).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SEARCH = 0.4
LONGEST_RAMP = 1.5
BEFORE, AFTER = 1.2, 0.6
LEAST_BINS = 8
EIGHTY_PERCENT = 1.64


class Knee(NamedTuple):
    """The end of a fall: logarithmic time, interval, fitted depth in decades and its standard error."""

    time: float
    earliest: float
    latest: float
    depth: float
    error: float


def knee(times: FloatArray, snr: FloatArray, near: float, stop: float) -> Knee | None:
    """Return the knee of a fall, or None where there are too few bins to fit it.

    Args:
        times: logarithmic times of the bins with an SNR, shape `(bins,)`.
        snr: log10 of the SNR in them, spikes clipped.
        near: where the end is known to be, within 0.4 decades.
        stop: logarithmic time from which the SNR is not of this fall any more.

    Example:
        >>> times = np.arange(1.0, 4.0, 0.02)
        >>> snr = np.clip(5.0 * (2.0 - times), -2.0, 0.0) + 0.1 * np.sin(99.0 * times)
        >>> found = knee(times, snr, near=2.2, stop=4.0)
        >>> round(found.time, 1), round(found.depth, 1)
        (2.4, 2.0)
    """
    used = (times >= near - BEFORE) & (times <= min(near + AFTER, stop))
    times, snr = times[used], snr[used]
    ends = times[np.abs(times - near) <= SEARCH][:-1]
    if times.size < LEAST_BINS or ends.size == 0:
        return None
    lengths = np.concatenate([[0.02], np.arange(0.05, LONGEST_RAMP, 0.05)])
    ramp = 1.0 - (ends[:, None, None] - times) / lengths[None, :, None]
    ramp = np.minimum(np.maximum(ramp, 0.0), 1.0)
    ramp -= ramp.mean(axis=2, keepdims=True)
    centred = snr - snr.mean()
    spread = np.maximum(np.square(ramp).sum(axis=2), 1e-12)
    along = ramp @ centred
    explained = np.where(along < 0.0, along * along / spread, 0.0)
    shape = np.argmax(explained, axis=1)
    left = float(centred @ centred) - explained.max(axis=1)
    best = int(np.argmin(left))
    freedom = max(times.size - 4, 1)
    as_good = ends[left <= left[best] * (1.0 + EIGHTY_PERCENT / freedom) + 1e-12]
    fitted = spread[best, shape[best]]
    depth = -float(along[best, shape[best]] / fitted)
    error = float(np.sqrt(max(left[best], 0.0) / freedom / fitted))
    return Knee(float(ends[best]), float(as_good[0]), float(as_good[-1]), depth, error)
