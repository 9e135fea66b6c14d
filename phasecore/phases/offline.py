"""Offline detection: the whole curve in, a timeline out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.curve import Curve
from phasecore.phases.grid import STEP, bin_of, opening, windowed
from phasecore.phases.timeline import Evidence, Phase, Timeline, Transition

MINIMUM_CAPTURES = 10


def detect(
    curve: Curve | Mapping[str, npt.ArrayLike], configuration: DetectorConfiguration | None = None
) -> Timeline:
    """Find the phases of a recorded curve."""
    configuration = configuration or DetectorConfiguration()
    if not isinstance(curve, Curve):
        curve = Curve.from_columns(curve)
    if curve.captures < MINIMUM_CAPTURES:
        return Timeline(
            (), None, f"cannot tell: {curve.captures} captures, at least {MINIMUM_CAPTURES} needed"
        )
    bins = bin_of(curve.iteration)
    first = int(bins[0])
    ratio = curve.ratio("snr") or curve.ratio("adam_snr")
    assert ratio is not None
    used = np.isfinite(ratio[0])
    if used.sum() < MINIMUM_CAPTURES:
        return Timeline((), None, "cannot tell: too few finite captures")
    size = int(bins[-1]) - first + 1
    half = round(configuration.smoothing / STEP)
    sums = [
        windowed(np.bincount(bins[used] - first, weights=part[used], minlength=size), half) for part in ratio
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log10(sums[0] / sums[1])
    good = np.isfinite(level)
    place = np.arange(size)
    level = np.interp(place, place[good], level[good])
    opened = opening(level, round(configuration.plateau / STEP))
    transitions = []
    valley = np.minimum.accumulate(opened)
    peak = int(np.argmax(opened - valley))
    low = int(np.argmin(opened[: peak + 1]))
    drop = int(np.argmax(np.maximum.accumulate(level[: low + 1]) - level[: low + 1]))
    height = float(level[: drop + 1].max() - level[drop])
    if height > 0.3:
        at = int(10 ** ((first + drop) * STEP))
        transitions.append(_transition(Phase.DIFFUSION, at, height, f"SNR fell {height:.1f} decades"))
    rise = float(opened[peak] - opened[low])
    if rise > 0.15:
        below = np.flatnonzero(opened[low:peak] < opened[peak] - 0.3)
        start = low + (int(below[-1]) + 1 if below.size else 0)
        at = int(10 ** ((first + start) * STEP))
        transitions.append(_transition(Phase.TOTAL_DIFFUSION, at, rise, f"SNR rose {rise:.1f} decades"))
    transitions.sort(key=lambda item: item.iteration)
    current = transitions[-1].phase if transitions else Phase.FITTING
    return Timeline(tuple(transitions), current, "first implementation")


def _transition(phase: Phase, at: int, height: float, statement: str) -> Transition:
    confidence = 1.0 - 0.5 * 10.0**-height
    return Transition(phase, at, (at // 2, at * 2), confidence, (Evidence("snr", statement, height),))
