"""How much a channel changes across a moment, and how much of that it keeps.

At a boundary between two bins, the level before (mean over a window that ends there) is compared with the level after
(a window that begins there). Noise is taken off: a rise is lowered by the configured number of standard errors of the
difference, a fall by one. And a rise has to last to the end of its plateau, and that of an SNR, which is abrupt, has to
be there from its beginning: if in the last third of the window after, or in the first, there is less than three
quarters of it, it shrinks, and it vanishes at one quarter. A bump, however high, has no contrast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import RESIDUAL_ORDER
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.profile import Profile, clipped

FloatArray = npt.NDArray[np.float64]

LEAST_BINS = 3


class Contrast(NamedTuple):
    """The contrast of every channel at every boundary between neighbouring bins, for windows of several lengths.

    Args:
        times: logarithmic times of the boundaries, shape `(boundaries,)`.
        height: lasting change in decades, noise taken off a rise, shape `(channels, scales, boundaries)`; NaN where
            a channel was recorded less than twice on either side.
        before: level before, same shape.
        after: level after, same shape.
    """

    times: FloatArray
    height: FloatArray
    before: FloatArray
    after: FloatArray


def contrast(profile: Profile, scales: tuple[float, ...], configuration: DetectorConfiguration) -> Contrast:
    """Return the contrasts of a profile of at least two bins.

    Args:
        profile: of the curve, or of its last part.
        scales: what the lengths of the windows are multiplied with, one window each.
        configuration: of the detector.

    Example:
        >>> times = np.arange(2.0, 4.0, 0.02)
        >>> profile = Profile(times, np.where(times < 3.01, 0.0, 1.0)[None, :])
        >>> found = contrast(profile, (1.0,), DetectorConfiguration())
        >>> round(float(found.times[50]), 2), round(float(found.height[0, 0, 50]), 2)
        (3.01, 1.0)
    """
    times, values = profile.times, clipped(profile.values)
    bins, channels = times.size, values.shape[0]
    edges = 0.5 * (times[1:] + times[:-1])
    boundary = np.arange(1, bins)
    starts, earlies, lates, ends = [], [], [], []
    for scale in scales:
        start = np.minimum(np.searchsorted(times, edges - scale * configuration.before), boundary - LEAST_BINS)
        end = np.searchsorted(times, edges + scale * configuration.plateau, side="right")
        end = np.minimum(np.maximum(end, boundary + LEAST_BINS), bins)
        late = np.searchsorted(times, (edges + 2.0 * times[end - 1]) / 3.0)
        early = np.searchsorted(times, (2.0 * edges + times[end - 1]) / 3.0, side="right")
        earlies.append(np.minimum(np.maximum(early, boundary + 1), end))
        starts.append(np.maximum(start, 0))
        ends.append(end)
        lates.append(np.minimum(np.maximum(late, boundary), end - 1))
    recorded = values == values
    running = np.zeros((3, channels, bins + 1))
    filled = np.where(recorded, values, 0.0)
    np.cumsum(filled, axis=1, out=running[0, :, 1:])
    np.cumsum(filled * filled, axis=1, out=running[1, :, 1:])
    np.cumsum(recorded, axis=1, out=running[2, :, 1:])
    at_boundary = running[:, :, None, boundary]
    at_end = running[:, :, np.array(ends)]
    sum_before, square_before, count_before = at_boundary - running[:, :, np.array(starts)]
    sum_after, square_after, count_after = at_end - at_boundary
    sum_early, _, count_early = running[:, :, np.array(earlies)] - at_boundary
    sum_late, _, count_late = at_end - running[:, :, np.array(lates)]
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = sum_before / count_before, sum_after / count_after
        late = sum_late / count_late - before
        least = late.copy()
        least[:RESIDUAL_ORDER] = np.fmin(late, sum_early / count_early - before)[:RESIDUAL_ORDER]
        error = np.sqrt(
            np.maximum(square_before / count_before - before * before, 0.0) / (count_before - 1.0)
            + np.maximum(square_after / count_after - after * after, 0.0) / (count_after - 1.0)
        )
        change = after - before
        share = np.minimum(np.maximum(2.0 * least / change - 0.5, 0.0), 1.0)
        lasting = np.where(change > 0.0, change * share, np.fmin(change, late))
        risen = np.maximum(lasting - configuration.caution * error, 0.0)
        height = np.where(lasting > 0.0, risen, np.minimum(lasting + error, 0.0))
    return Contrast(edges, height, before, after)
