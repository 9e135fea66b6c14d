"""From evidence to answers: where a transition lies, how sure it is, and what is said about it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import ADAM_SNR, CHANNELS, RESIDUAL_ORDER, SNR
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.fall import LATE, Fall
from phasecore.phases.rise import RiseEvidence
from phasecore.phases.statements import evidence_of, spaced
from phasecore.phases.timeline import Phase, Timeline, Transition

FloatArray = npt.NDArray[np.float64]

NEIGHBOURHOOD = 0.35
MINIMUM_CAPTURES = 10
MINIMUM_BINS = 9
MOST_CONFIDENT = 0.99
STILL_FALLS, SURE = 2.5, 3.0
TIE = 1e-3


class Finding(NamedTuple):
    """A transition in logarithmic time, likely or not.

    Args:
        time: at which it took place.
        earliest, latest: the interval of that.
        log_odds: of its having taken place at all.
        table: the evidence, as `statements.evidence_of` reads it, shape `(6, 4)`.
        declared: logarithmic time at which it was found, NaN where that was not followed.
    """

    time: float
    earliest: float
    latest: float
    log_odds: float
    table: FloatArray
    declared: float = math.nan


class Extent(NamedTuple):
    """How much of a curve there is.

    Args:
        captures: how many hold an SNR.
        bins: how many bins hold a capture.
        first: the first logarithmic time.
    """

    captures: int
    bins: int
    first: float


def rise_finding(
    evidence: RiseEvidence, allowed: npt.NDArray[np.bool_], configuration: DetectorConfiguration
) -> Finding | None:
    """Return the most likely start of total diffusion, however unlikely; None where nothing can be said.

    The time is the median, and the interval the middle 80%, of the evidence within 0.35 decades of its peak; where
    the SNR rises, how sharply it does at each boundary counts once more, since log odds saturate.

    Args:
        evidence: of the whole curve or of its last part.
        allowed: boundaries that may be the start, shape `(boundaries,)`.
        configuration: of the detector.
    """
    total = np.where(allowed, evidence.total, -np.inf)
    best = int(np.argmax(total + TIE * evidence.unbounded))
    if not np.isfinite(total[best]):
        return None
    near = np.abs(evidence.times - evidence.times[best]) <= NEIGHBOURHOOD
    sharp = np.where(near, np.fmax(evidence.snr_rise, 0.0), 0.0)
    emphasis = configuration.snr_weight * sharp / sharp.max() if sharp.max() > configuration.snr_rise else 0.0
    place = np.where(near & np.isfinite(total), evidence.unbounded + emphasis, -np.inf)
    weight = np.exp(configuration.temper * (place - place.max()))
    share = np.cumsum(weight * np.gradient(evidence.times)) if weight.size > 1 else np.ones(1)
    quantiles = np.searchsorted(share, np.array([0.1, 0.5, 0.9]) * share[-1])
    earliest, time, latest = evidence.times[quantiles].tolist()
    return Finding(time, earliest, latest, float(total[best]), evidence.table(best))


def may_begin(times: FloatArray, ended: Finding | None) -> npt.NDArray[np.bool_]:
    """Return at which times total diffusion may begin: after fitting, or, where its end is not known, after 300.

    In the first iterations a rise of the SNR is part of fitting.
    """
    return times > (LATE if ended is None else ended.time)


def fall_finding(fall: Fall, configuration: DetectorConfiguration, source: int = SNR) -> Finding | None:
    """Return the end of fitting, or None where none was found or the fall goes on.

    While it may still go on, the log odds are at most 2.5.

    Args:
        fall: as it was followed.
        configuration: of the detector.
        source: whose fall it is, the SNR's or Adam's.
    """
    if math.isnan(fall.declared):
        return None
    odds, adam, order = fall.odds.tolist()
    table = np.full((len(CHANNELS), 4), math.nan)
    table[ADAM_SNR] = adam, fall.adam_peak, fall.adam_peak - fall.adam_depth, fall.at
    table[RESIDUAL_ORDER] = order, fall.order_peak, fall.order_peak - fall.order_depth, fall.at
    table[source] = odds, fall.top, fall.bottom, fall.at
    width = fall.scale * configuration.hold
    log_odds = fall.total(configuration)
    log_odds = log_odds if fall.closed else min(log_odds, STILL_FALLS)
    return Finding(fall.at, fall.at - width, fall.at + width, log_odds, table, fall.declared)


def adam_finding(fall: Fall, configuration: DetectorConfiguration) -> Finding | None:
    """Return the end of fitting by Adam's SNR alone, a hint, where the SNR was recorded and has not fallen.

    It counts once 0.6 decades have passed in which the SNR might have fallen.
    """
    found = fall_finding(fall, configuration, ADAM_SNR) if fall.closed else None
    return None if found is None else found._replace(log_odds=min(found.log_odds, configuration.hint))


def told_by_snr(snr: Finding | None, adam: Finding | None, configuration: DetectorConfiguration) -> Finding | None:
    """Return the end of fitting by the SNR; None where it comes long after Adam's and is doubtful: Adam's tells then.

    Args:
        snr: the end of the SNR's fall.
        adam: that of Adam's beside it.
        configuration: of the detector.
    """
    if snr is None or adam is None or snr.log_odds >= SURE:
        return snr
    return snr if snr.time - adam.time <= configuration.plateau else None


def timeline_of(
    fall: Finding | None,
    rise: Finding | None,
    extent: Extent,
    risen: bool,
    configuration: DetectorConfiguration,
    online: bool = False,
) -> Timeline:
    """Put findings together.

    Args:
        fall: the end of fitting.
        rise: the most likely start of total diffusion.
        extent: of the curve.
        risen: whether the rise is likely enough to be a transition.
        configuration: of the detector.
        online: whether to say when each was declared.
    """
    if extent.captures < MINIMUM_CAPTURES:
        reason = f"cannot tell: {extent.captures} captures of the SNR, at least {MINIMUM_CAPTURES} are needed"
        return Timeline((), None, reason)
    if extent.bins < MINIMUM_BINS:
        return Timeline((), None, "cannot tell: the captures span too small a part of a decade of iterations")
    if fall is not None and rise is not None and risen and rise.time < fall.time:
        fall = None
    found = []
    if fall is not None:
        found.append(_transition(Phase.DIFFUSION, fall, configuration, online))
    if rise is not None and risen:
        found.append(_transition(Phase.TOTAL_DIFFUSION, rise, configuration, online))
        return Timeline(tuple(found), Phase.TOTAL_DIFFUSION, f"total diffusion: {_strongest(found[-1], 1.0)}")
    if fall is not None:
        if rise is None:
            reason = "the curve ends too soon after the end of fitting"
        else:
            against = _transition(Phase.TOTAL_DIFFUSION, rise, configuration, online)
            reason = f"at the likeliest place {_strongest(against, -1.0)}"
        return Timeline(tuple(found), Phase.DIFFUSION, f"no total diffusion yet: {reason}")
    if extent.first > LATE:
        first = spaced(10**extent.first)
        return Timeline((), None, f"cannot tell: the curve starts at {first}, and neither falls nor rises for good")
    return Timeline((), Phase.FITTING, "no diffusion yet: the SNR has not fallen for good")


def _strongest(transition: Transition, sign: float) -> str:
    ranked = sorted(transition.evidence, key=lambda item: -sign * item.log_odds)
    return ranked[0].statement if ranked else "nothing speaks for it"


def _transition(phase: Phase, finding: Finding, configuration: DetectorConfiguration, online: bool) -> Transition:
    iteration, earliest, latest = (round(10**time) for time in (finding.time, finding.earliest, finding.latest))
    confidence = min(1.0 / (1.0 + math.exp(-configuration.temper * finding.log_odds)), MOST_CONFIDENT)
    declared = round(10**finding.declared) if online and not math.isnan(finding.declared) else None
    return Transition(phase, iteration, (earliest, latest), confidence, evidence_of(finding.table), declared)
