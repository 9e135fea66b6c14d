"""Evidence for the start of total diffusion, at every boundary between two bins of a profile.

The paper defines total diffusion by a conjunction: an abrupt and lasting rise of the gradient SNR, homogeneous
gradients, uniform residuals, the fastest convergence (arXiv 2403.18494). Every recorded quantity therefore
gives log odds of its own, from its contrast across the boundary; a flat quantity speaks against, a missing one
says nothing. The other quantities may lead or lag the SNR, so they are looked for within reach of the boundary, at a
price that grows with the distance. Residuals that hardly vary over space have little to win, and count less when flat.

A sum is no conjunction, so what the sum may reach is bounded by the SNR. Where that was recorded and has not risen,
the others are hints, but for an error that falls as it did before: together they may be believed, and never more than
a little, only if there was no rise to be waited for. There was one as far as Adam's SNR, which does not depend on how
many points a batch holds, lies below where it was while the network fitted; one of the others that is flat takes its
part off the bound; and right after fitting, when the loss falls in any case, hints count for nothing until a decade
has passed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import (
    ADAM_SNR,
    CHANNELS,
    LAYER_SNR,
    RELATIVE_L2_ERROR,
    RESIDUAL_ORDER,
    SNR,
    TRAINING_LOSS,
)
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.contrast import LEAST_BINS, contrast
from phasecore.phases.fall import LATE
from phasecore.phases.profile import Profile

FloatArray = npt.NDArray[np.float64]

SCALES = (1.0, 2.0)
WIDE_SHARE = 0.75
MOST, LEAST = 2.0, -1.5
EVEN = 0.1
UNKNOWN_ROOM = 0.5


class RiseEvidence(NamedTuple):
    """Evidence for total diffusion beginning at each boundary.

    Args:
        times: logarithmic times of the boundaries, shape `(boundaries,)`.
        total: log odds of total diffusion beginning there, same shape; minus infinity where nothing can be said.
        unbounded: the same without the bound, shape `(boundaries,)`: it tells where, not whether.
        log_odds: per channel, shape `(6, boundaries)`, NaN where absent.
        before: level of each channel before the boundary, shape `(6, boundaries)`.
        after: level after it, same shape.
        source: place of the boundary at which each channel was read, same shape.
        snr_rise: contrast of the SNR at the boundary, decades, shape `(boundaries,)`.
    """

    times: FloatArray
    total: FloatArray
    unbounded: FloatArray
    log_odds: FloatArray
    before: FloatArray
    after: FloatArray
    source: npt.NDArray[np.intp]
    snr_rise: FloatArray

    def table(self, place: int) -> FloatArray:
        """Return the evidence at one boundary: log odds, levels before and after, time; shape `(6, 4)`."""
        channels, source = np.arange(len(CHANNELS)), self.source[:, place]
        levels = self.before[channels, source], self.after[channels, source]
        return np.column_stack([self.log_odds[:, place], *levels, self.times[source]])


def rise_evidence(
    profile: Profile, configuration: DetectorConfiguration, adam_peak: float = math.nan, ended: float = LATE
) -> RiseEvidence:
    """Weigh the evidence at every boundary of a profile of at least two bins.

    Args:
        profile: of the curve, or of its last part.
        configuration: of the detector.
        adam_peak: log10 of the highest Adam SNR until the end of fitting, NaN where that is not known.
        ended: logarithmic time of the end of fitting.

    Example:
        >>> times = np.arange(2.0, 5.0, 0.02)
        >>> values = np.full((6, times.size), np.nan)
        >>> values[SNR] = np.where(times < 4.0, -2.0, 0.5)
        >>> evidence = rise_evidence(Profile(times, values), DetectorConfiguration())
        >>> round(float(evidence.times[np.argmax(evidence.total)]), 2)
        3.95
    """
    heights, weights = heights_and_weights(configuration)
    found = contrast(profile, SCALES, configuration)
    times, last = found.times, profile.times[-1]
    relative = found.height / heights[:, None, None]
    flatness = np.minimum(np.maximum(2.0 - 2.0 * relative[SNR, 0], 0.0), 1.0)
    change = (found.after - found.before)[RELATIVE_L2_ERROR] / heights[RELATIVE_L2_ERROR]
    relative[RELATIVE_L2_ERROR] -= np.nan_to_num(flatness) * _trend(change, times, times - configuration.plateau)
    odds = np.maximum(np.minimum(relative, 0.0), LEAST) - 1.0 + np.maximum(relative, 0.0)
    fallen = (adam_peak - found.before[ADAM_SNR, 0]) / configuration.fall - 1.0
    room = np.where(fallen == fallen, np.minimum(np.maximum(fallen, 0.0), 1.0), UNKNOWN_ROOM)
    uneven = 1.0 / (1.0 + EVEN**2 * 10.0 ** (2.0 * found.before[RESIDUAL_ORDER]))
    odds[[SNR, LAYER_SNR]] = _discounted(odds[[SNR, LAYER_SNR]], room)
    odds[RESIDUAL_ORDER] = _discounted(odds[RESIDUAL_ORDER], uneven)
    odds = np.minimum(np.maximum(odds, LEAST), MOST) * weights[:, None, None]
    best = odds[:, 0]
    best[:RESIDUAL_ORDER] = np.fmax(best[:RESIDUAL_ORDER], WIDE_SHARE * odds[:RESIDUAL_ORDER, 1])
    seen = np.minimum((last - times) / configuration.plateau, 1.0)
    best = np.where(best > 0.0, best * seen, best)

    log_odds = np.empty(best.shape)
    source = np.empty(best.shape, dtype=np.intp)
    log_odds[SNR], source[SNR] = best[SNR], np.arange(times.size)
    price = 2.0 * weights[LAYER_SNR:, None] / configuration.reach
    log_odds[LAYER_SNR:], source[LAYER_SNR:] = _within_reach(best[LAYER_SNR:], times, price)
    recorded = best == best
    plain = np.where(recorded, log_odds, 0.0).sum(axis=0) - configuration.doubt
    soon = flatness * np.minimum(np.maximum(1.0 - (times - ended), 0.0), 1.0)
    total = np.fmin(plain, _bound(log_odds, flatness, configuration) - 2.0 * configuration.hint * soon)
    told = recorded.any(axis=0) & (last - times >= configuration.shortest_plateau)
    told[: LEAST_BINS - 1] = False
    told[times.size - LEAST_BINS + 1 :] = False
    total[~told] = -np.inf
    levels = found.before[:, 0], found.after[:, 0]
    return RiseEvidence(times, total, plain, log_odds, *levels, source, found.height[SNR, 0])


def _trend(change: FloatArray, times: FloatArray, earlier: FloatArray) -> FloatArray:
    """Return the rise at earlier times, shape of `change`, zero where there was none or it is not known."""
    there = np.maximum(np.nan_to_num(change[:, np.searchsorted(times, earlier)]), 0.0)
    return np.where(earlier < times[0], 0.0, there)


def _discounted(odds: FloatArray, share: FloatArray) -> FloatArray:
    """Return odds whose flatness counts by a share only; a change to the contrary counts in full."""
    flat = share * np.minimum(np.maximum(odds, -1.0), 0.0) + np.minimum(odds + 1.0, 0.0)
    return np.where(odds > 0.0, odds, flat)


def _bound(log_odds: FloatArray, flatness: FloatArray, configuration: DetectorConfiguration) -> FloatArray:
    """Return what the log odds of the conjunction may reach, shape `(boundaries,)`; NaN where there is no SNR."""
    hints = log_odds[[RESIDUAL_ORDER, TRAINING_LOSS, RELATIVE_L2_ERROR]]
    weakest = np.minimum(np.fmin.reduce(hints, axis=0, initial=0.0), 0.0)
    snr = log_odds[SNR]
    risen = np.where(snr > 0.0, 2.0 * snr, 0.5 * snr + flatness * weakest)
    return np.asarray(configuration.hint + risen)


def heights_and_weights(configuration: DetectorConfiguration) -> tuple[FloatArray, FloatArray]:
    """Return the heights and the weights of the channels, each of shape `(6,)`."""
    rise = configuration.snr_rise
    heights = [rise, rise, rise, configuration.order_recovery, configuration.loss_fall, configuration.error_fall]
    weights = [
        configuration.snr_weight,
        configuration.layer_weight,
        configuration.adam_weight,
        configuration.order_weight,
        configuration.loss_weight,
        configuration.error_weight,
    ]
    return np.array(heights), np.array(weights)


def _within_reach(odds: FloatArray, times: FloatArray, price: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return `max_s odds[s] - price * abs(times - times[s])` and the maximizing s, in two linear passes."""
    absent = odds != odds
    reached = np.where(absent, -np.inf, odds)
    slope = price * times
    earlier, earlier_place = _running_maximum(reached + slope)
    later, later_place = _running_maximum((reached - slope)[:, ::-1])
    earlier, later = earlier - slope, later[:, ::-1] + slope
    source = np.where(earlier >= later, earlier_place, times.size - 1 - later_place[:, ::-1])
    return np.where(absent, np.nan, np.maximum(earlier, later)), source


def _running_maximum(values: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    maximum = np.maximum.accumulate(values, axis=1)
    place = np.where(values == maximum, np.arange(values.shape[1]), 0)
    return maximum, np.maximum.accumulate(place, axis=1)
