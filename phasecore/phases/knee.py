"""The knee of a fall, with hindsight: a level, a ramp down and a level, fitted by least squares.

The steps of `fall` say that a fall has ended without looking ahead, and are late or early where noise is strong. Once
the rest of the curve is known, every pair of a beginning and an end of the ramp is tried, and the end that fits best
is taken, with those that fit about as well as its interval (profile likelihood). Adam's SNR, which falls with the SNR,
is fitted with a ramp of its own that has the same end, and counts for a third, as it does in the odds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SEARCH = 0.4
LONGEST_RAMP = 1.5
BEFORE, AFTER = 1.2, 0.6
LEVEL = 0.1
LEAST_BINS = 8
LEAST_VARIANCE = 0.02**2
ADAM_SHARE = 1.0 / 3.0
EIGHTY_PERCENT = 1.64


class Knee(NamedTuple):
    """The end of a fall: logarithmic time, interval, fitted depth in decades and its standard error."""

    time: float
    earliest: float
    latest: float
    depth: float
    error: float


def knee(times: FloatArray, snr: FloatArray, near: float, stop: float, adam: FloatArray | None = None) -> Knee | None:
    """Return the knee of a fall, or None where there are too few bins to fit it.

    Args:
        times: logarithmic times of the bins with an SNR, shape `(bins,)`.
        snr: log10 of the SNR in them, spikes clipped.
        near: where the end is known to be, within 0.4 decades; a level 0.1 decades long follows it.
        stop: logarithmic time from which the SNR is not of this fall any more.
        adam: log10 of Adam's SNR in the same bins, spikes clipped, NaN where absent; None to leave it out.

    Example:
        >>> times = np.arange(1.0, 4.0, 0.02)
        >>> snr = np.clip(5.0 * (2.0 - times), -2.0, 0.0) + 0.1 * np.sin(99.0 * times)
        >>> found = knee(times, snr, near=2.2, stop=4.0)
        >>> round(found.time, 1), round(found.depth, 1)
        (2.4, 2.0)
    """
    used = (times >= near - BEFORE) & (times <= min(near + AFTER, stop))
    times, snr = times[used], snr[used]
    if times.size < LEAST_BINS:
        return None
    ends = times[(np.abs(times - near) <= SEARCH) & (times <= times[-1] - LEVEL)]
    if ends.size == 0:
        return None
    left, depth, error = _ramps(times, snr, ends)
    misfit = _misfit(left, times.size)
    there = np.zeros(times.size, dtype=np.bool_) if adam is None else np.isfinite(adam[used])
    if adam is not None and there.sum() >= LEAST_BINS:
        misfit += ADAM_SHARE * _misfit(_ramps(times[there], adam[used][there], ends)[0], int(there.sum()))
    best = int(np.argmin(misfit))
    as_good = ends[misfit <= misfit[best] + EIGHTY_PERCENT]
    return Knee(float(ends[best]), float(as_good[0]), float(as_good[-1]), float(depth[best]), float(error[best]))


def _ramps(times: FloatArray, snr: FloatArray, ends: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the squares left by the best ramp to each end, its depth, and the standard error of that."""
    lengths = np.concatenate([[0.02], np.arange(0.05, LONGEST_RAMP, 0.05)])
    ramp = 1.0 - (ends[:, None, None] - times) / lengths[None, :, None]
    ramp = np.minimum(np.maximum(ramp, 0.0), 1.0)
    ramp -= ramp.mean(axis=2, keepdims=True)
    centred = snr - snr.mean()
    spread = np.maximum(np.square(ramp).sum(axis=2), 1e-12)
    along = ramp @ centred
    explained = np.where(along < 0.0, along * along / spread, 0.0)
    best = np.arange(ends.size), np.argmax(explained, axis=1)
    left = np.maximum(float(centred @ centred) - explained[best], 0.0)
    return left, -along[best] / spread[best], np.sqrt(left / max(times.size - 4, 1) / spread[best])


def _misfit(left: FloatArray, bins: int) -> FloatArray:
    """Return minus twice the logarithm of the profile likelihood, less a constant."""
    freedom = max(bins - 4, 1)
    return np.asarray(freedom * np.log(left / freedom + LEAST_VARIANCE))
