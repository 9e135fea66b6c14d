"""Evidence for the start of total diffusion, at every boundary between two bins of a profile.

The paper defines total diffusion by a conjunction: an abrupt and lasting rise of the gradient SNR, homogeneous
gradients, uniform residuals, the fastest convergence (arXiv 2403.18494). Every recorded quantity therefore
gives log odds of its own, from its contrast across the boundary; a flat quantity speaks against, a missing one
says nothing. Two things are special. A flat SNR speaks against only as far as gradients are not homogeneous
already: `1 / (1 + SNR^2)`, the share of noise in the batch gradients, is what there is left to win; likewise for
residuals that hardly vary over space. And the other
quantities may lead or lag the SNR, so they are looked for within reach of the boundary, at a price that grows with
the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import ADAM_SNR, CHANNELS, LAYER_SNR, RESIDUAL_ORDER, SNR
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.contrast import LEAST_BINS, contrast
from phasecore.phases.profile import Profile
from phasecore.phases.statistics import order_of_log_snr

FloatArray = npt.NDArray[np.float64]

QUANTITIES = (*CHANNELS, "gradient_order")
SCALES = (1.0, 2.0)
WIDE_SHARE = 0.75
MOST, LEAST = 2.0, -1.5
EVEN = 0.1


class RiseEvidence(NamedTuple):
    """Evidence for total diffusion beginning at each boundary.

    Args:
        times: logarithmic times of the boundaries, shape `(boundaries,)`.
        total: log odds of total diffusion beginning there, same shape; minus infinity where nothing can be said.
        log_odds: per quantity of `QUANTITIES`, shape `(7, boundaries)`, NaN where absent.
        before: level of each channel before the boundary, shape `(6, boundaries)`.
        after: level after it, same shape.
        source: place of the boundary at which each channel was read, same shape.
        snr_rise: contrast of the SNR at the boundary, decades, shape `(boundaries,)`.
    """

    times: FloatArray
    total: FloatArray
    log_odds: FloatArray
    before: FloatArray
    after: FloatArray
    source: npt.NDArray[np.intp]
    snr_rise: FloatArray

    def table(self, place: int) -> FloatArray:
        """Return the evidence at one boundary: log odds, levels before and after, time; shape `(7, 4)`."""
        table = np.empty((len(QUANTITIES), 4))
        table[:, 0] = self.log_odds[:, place]
        for channel, source in enumerate(self.source[:, place].tolist()):
            table[channel, 1:] = self.before[channel, source], self.after[channel, source], self.times[source]
        snr = np.array([self.before[SNR, place], self.after[SNR, place]])
        table[-1, 1:] = *order_of_log_snr(snr).tolist(), self.times[place]
        return table


def rise_evidence(profile: Profile, configuration: DetectorConfiguration) -> RiseEvidence:
    """Weigh the evidence at every boundary of a profile of at least two bins.

    Example:
        >>> times = np.arange(2.0, 5.0, 0.02)
        >>> values = np.full((6, times.size), np.nan)
        >>> values[SNR] = np.where(times < 4.0, -2.0, 0.5)
        >>> evidence = rise_evidence(Profile(times, values), DetectorConfiguration())
        >>> round(float(evidence.times[np.argmax(evidence.total)]), 2)
        3.97
    """
    heights, weights = heights_and_weights(configuration)
    found = contrast(profile, SCALES, configuration)
    times, last = found.times, profile.times[-1]
    relative = found.height / heights[:, None, None]
    odds = np.maximum(np.minimum(relative, 0.0), LEAST) - 1.0 + np.maximum(relative, 0.0)
    ordered = odds[: RESIDUAL_ORDER + 1]
    room = 1.0 / (1.0 + 10.0 ** (2.0 * np.minimum(np.maximum(found.before[: RESIDUAL_ORDER + 1], -8.0), 8.0)))
    room[ADAM_SNR] = 1.0
    room[RESIDUAL_ORDER] = 1.0 / (1.0 + EVEN**2 * 10.0 ** (2.0 * found.before[RESIDUAL_ORDER]))
    flat = room * np.minimum(np.maximum(ordered, -1.0), 0.0) + np.minimum(ordered + 1.0, 0.0)
    odds[: RESIDUAL_ORDER + 1] = np.where(ordered > 0.0, ordered, flat)
    odds = np.minimum(np.maximum(odds, LEAST), MOST) * weights[:, None, None]
    best = odds[:, 0]
    best[:RESIDUAL_ORDER] = np.fmax(best[:RESIDUAL_ORDER], WIDE_SHARE * odds[:RESIDUAL_ORDER, 1])
    seen = np.minimum((last - times) / configuration.plateau, 1.0)
    best = np.where(best > 0.0, best * seen, best)

    log_odds = np.empty((len(QUANTITIES), times.size))
    source = np.empty((len(CHANNELS), times.size), dtype=np.intp)
    log_odds[SNR], source[SNR] = best[SNR], np.arange(times.size)
    price = 2.0 * weights[LAYER_SNR:, None] / configuration.reach
    log_odds[LAYER_SNR:-1], source[LAYER_SNR:] = _within_reach(best[LAYER_SNR:], times, price)
    homogeneity = (order_of_log_snr(found.after[SNR, 0]) - 0.5) / 0.4
    log_odds[-1] = configuration.homogeneity_weight * seen * np.minimum(np.maximum(homogeneity, -1.0), 1.0)
    recorded = best == best
    total = np.where(log_odds == log_odds, log_odds, 0.0).sum(axis=0) - configuration.doubt
    told = recorded.any(axis=0) & (last - times >= configuration.shortest_plateau)
    told[: LEAST_BINS - 1] = False
    told[times.size - LEAST_BINS + 1 :] = False
    total[~told] = -np.inf
    return RiseEvidence(times, total, log_odds, found.before[:, 0], found.after[:, 0], source, found.height[SNR, 0])


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
