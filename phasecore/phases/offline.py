"""Offline detection: the whole curve in, a timeline out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from phasecore.errors import InputError, described
from phasecore.phases.channels import ADAM_SNR, SNR, channels_of, lost_in
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.curve import Curve, Recorded
from phasecore.phases.fall import LATE
from phasecore.phases.falls import Falls, follow_falls, knee_of
from phasecore.phases.findings import (
    Extent,
    Finding,
    adam_finding,
    fall_finding,
    may_begin,
    rise_finding,
    timeline_of,
    told_by_snr,
)
from phasecore.phases.nonfinite import gaps_of, told
from phasecore.phases.profile import Profile, profile_of
from phasecore.phases.rise import RiseEvidence, rise_evidence
from phasecore.phases.timeline import Timeline

FloatArray = npt.NDArray[np.float64]

RECENT_BINS = 96
LEAST_HALF_WIDTH = 0.1
LASTING = 0.5
MOST = 2.0


def detect(curve: Recorded, configuration: DetectorConfiguration | None = None) -> Timeline:
    """Find the phases of a recorded curve.

    Args:
        curve: a curve, its columns as for `Curve.from_columns`, or rows such as `monitor.history`.
        configuration: of the detector; one serves all curves.

    Returns:
        The transitions found, with intervals, confidences and evidence; "no total diffusion yet" and "cannot
        tell" are answers too, and the latter is that for a training that has gone to NaN.

    Raises:
        InputError: it makes no curve (see `Curve.of`).

    Example:
        >>> import numpy as np
        >>> iteration = np.arange(10, 20000, 10)
        >>> snr = np.where(iteration < 100, 30.0, np.where(iteration < 5000, 0.03, 3.0))
        >>> [(str(found.phase), found.iteration) for found in detect({"iteration": iteration, "snr": snr}).transitions]
        [('diffusion', 100), ('total_diffusion', 5013)]
    """
    configuration = DetectorConfiguration() if configuration is None else configuration
    if not isinstance(configuration, DetectorConfiguration):
        raise InputError(
            "detect, argument 'configuration'",
            received=described(configuration),
            expected="a DetectorConfiguration, or none",
            fix='Give columns by name: detect({"iteration": iterations, "snr": snr}).',
        )
    curve = Curve.of(curve)
    channels = channels_of(curve)
    profile = profile_of(curve, channels)
    ended, rise = find_transitions(profile, configuration)
    first = float(profile.times[0]) if profile.times.size else 0.0
    captures = int(np.isfinite(channels[[SNR, ADAM_SNR]]).any(axis=0).sum())
    timeline = timeline_of(ended, rise, Extent(captures, profile.times.size, first), likely(rise), configuration)
    return told(timeline, gaps_of(curve.iteration, channels, lost_in(curve)))


def find_falls(profile: Profile, configuration: DetectorConfiguration) -> Falls:
    """Return the falls of the SNR and of Adam's, following the profile bin by bin."""
    seen_snr = bool(np.isfinite(profile.values[SNR]).any())
    falls = Falls()
    for last, now in enumerate(profile.times.tolist()):
        recent = slice(max(last + 1 - RECENT_BINS, 0), last + 1)
        falls = follow_falls(falls, profile.times[recent], profile.values[:, recent], now, seen_snr, configuration)
        if falls.first.closed and (falls.beside.closed or not seen_snr):
            break
    return falls


def find_transitions(profile: Profile, configuration: DetectorConfiguration) -> tuple[Finding | None, Finding | None]:
    """Return the end of fitting, and the most likely start of total diffusion after it, however unlikely.

    A fall that total diffusion precedes is the end of that, and not of fitting. Where the SNR was recorded and does not
    fall for good, Adam's may tell.
    """
    if profile.times.size < 2:
        return None, None
    fall, adam = find_falls(profile, configuration)
    seen_snr = bool(np.isfinite(profile.values[SNR]).any())
    source = SNR if seen_snr else ADAM_SNR
    hint = adam_finding(adam, configuration)
    found = told_by_snr(fall_finding(fall, configuration, source), hint, configuration)
    ended, evidence = _lasting(found, source, fall.until, fall.adam_peak, profile, configuration)
    if ended is None and seen_snr:
        ended, evidence = _lasting(hint, ADAM_SNR, adam.until, fall.adam_peak, profile, configuration)
    return ended, rise_finding(evidence, may_begin(evidence.times, ended), configuration)


def _lasting(
    ended: Finding | None,
    source: int,
    until: float,
    adam_peak: float,
    profile: Profile,
    configuration: DetectorConfiguration,
) -> tuple[Finding | None, RiseEvidence]:
    """Return the end of fitting at the knee of its fall, None where that did not last or came after all; and a rise."""
    evidence = rise_evidence(profile, configuration, adam_peak, LATE if ended is None else ended.time)
    if ended is None:
        return None, evidence
    between = may_begin(evidence.times, None) & (evidence.times < ended.time - configuration.plateau)
    if likely(rise_finding(evidence, between, configuration)):
        return None, evidence
    rise = rise_finding(evidence, may_begin(evidence.times, ended), configuration)
    stop = rise.earliest if rise is not None and likely(rise) else profile.times[-1]
    return at_knee(ended, source, profile, float(np.fmin(stop, until)), configuration), evidence


def likely(rise: Finding | None) -> bool:
    """Return whether the evidence speaks for a transition."""
    return rise is not None and rise.log_odds > 0.0


def at_knee(
    ended: Finding, source: int, profile: Profile, stop: float, configuration: DetectorConfiguration
) -> Finding | None:
    """Return the end of fitting moved to the knee of its fall, or None where the fall did not last."""
    fitted = knee_of(profile.times, profile.values, source, ended.time, stop)
    if fitted is None:
        return ended
    sure = (fitted.depth - configuration.caution * fitted.error) / (LASTING * configuration.fall)
    odds = configuration.fall_weight * min(max(sure - 1.0, -1.0), MOST)
    table = ended.table.copy()
    table[source, 0] = min(odds, table[source, 0])
    table[:, 3] = fitted.time
    log_odds = ended.log_odds + table[source, 0] - ended.table[source, 0]
    if log_odds < 0.0:
        return None
    earliest, latest = fitted.time - LEAST_HALF_WIDTH, fitted.time + LEAST_HALF_WIDTH
    return ended._replace(
        log_odds=log_odds,
        table=table,
        time=fitted.time,
        earliest=min(fitted.earliest, earliest),
        latest=max(fitted.latest, latest),
    )
