"""Quantities that were measured and are no number: a gap in a curve, or its end.

A capture may fail to give a number and the next one give it again: such a gap says nothing. A training whose weights
are NaN never gives one again. What is followed of each quantity is therefore the gap that is open: where it began, how
many captures it holds, and the longest gap before it. A gap longer than any before it is said in the reason. One that
holds at least two captures, and more than twice as many as any before it, lasts: if it is one of the loss or of the
signal-to-noise ratios, and no such ratio was measured since it began, then the phase cannot be told any more.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import (
    ADAM_SNR,
    CHANNELS,
    RELATIVE_L2_ERROR,
    RESIDUAL_ORDER,
    SNR,
    TRAINING_LOSS,
)
from phasecore.phases.statements import NAMES
from phasecore.phases.timeline import Nonfinite, Timeline

FloatArray = npt.NDArray[np.float64]

BEGAN, CAPTURES, LONGEST, KIND, FINITE = range(5)
NAN, INFINITE = 1, 2
KINDS = {NAN: "NaN", INFINITE: "infinite", NAN | INFINITE: "not finite"}
TOLD = (TRAINING_LOSS, SNR, ADAM_SNR, RESIDUAL_ORDER, RELATIVE_L2_ERROR)
ENDING = (TRAINING_LOSS, SNR, ADAM_SNR)
RATIOS = (SNR, ADAM_SNR)
LEAST, TIMES = 2, 2


def no_gaps() -> FloatArray:
    """Return the gaps of a curve that has not begun, shape `(6, 5)`.

    Of each channel: iteration at which the open gap began, how many captures it holds (0: none is open), how many the
    longest one before it held, whether it holds NaN (1), infinity (2) or both (3), and the last iteration at which
    the channel was finite, as far as that was followed.
    """
    gaps = np.zeros((len(CHANNELS), 5))
    gaps[:, FINITE] = -1.0
    return gaps


def with_capture(gaps: FloatArray, iteration: float, channels: list[float], lost: list[float] | None) -> FloatArray:
    """Return the gaps after one more capture; those given are left as they were.

    Args:
        gaps: before it, shape `(6, 5)`.
        iteration: of the capture.
        channels: of it, NaN where absent.
        lost: what was measured of each channel and is no number, 0 for none; None for none at all.
    """
    gaps = gaps.copy()
    for gap, value, kind in zip(gaps, channels, lost or [0.0] * len(channels), strict=True):
        if kind != 0.0:
            gap[BEGAN] = gap[BEGAN] if gap[CAPTURES] else iteration
            gap[CAPTURES] += 1
            gap[KIND] = int(gap[KIND]) | (NAN if math.isnan(kind) else INFINITE)
        elif value == value:
            gap[LONGEST] = max(gap[LONGEST], gap[CAPTURES])
            gap[CAPTURES] = gap[KIND] = 0
            gap[FINITE] = iteration
    return gaps


def gaps_of(iteration: FloatArray, channels: FloatArray, lost: FloatArray) -> FloatArray:
    """Return the gaps of a whole curve, as `with_capture` finds them one by one.

    Args:
        iteration: shape `(captures,)`.
        channels: shape `(6, captures)`, NaN where absent.
        lost: what was measured and is no number, shape `(6, captures)`, 0 for none.
    """
    gaps = no_gaps()
    finite = np.isfinite(channels)
    for gap, here, missing in zip(gaps, finite, lost, strict=True):
        if here.any():
            gap[FINITE] = iteration[np.flatnonzero(here)[-1]]
        failed = missing != 0.0
        if not failed.any():
            continue
        ends = np.flatnonzero(here)
        held = np.diff(np.concatenate([[0], np.cumsum(failed)[ends], [failed.sum()]]))
        gap[LONGEST], gap[CAPTURES] = held[:-1].max(initial=0), held[-1]
        if gap[CAPTURES]:
            last = np.flatnonzero(failed)[-int(gap[CAPTURES]) :]
            gap[BEGAN] = iteration[last[0]]
            gap[KIND] = (NAN if np.isnan(missing[last]).any() else 0) | (
                INFINITE if np.isinf(missing[last]).any() else 0
            )
    return gaps


def told(timeline: Timeline, gaps: FloatArray) -> Timeline:
    """Return a timeline that says which quantities are no numbers any more.

    Args:
        timeline: of the numbers that there are.
        gaps: at the end of the curve, shape `(6, 5)`.

    Example:
        >>> from phasecore.phases.timeline import Phase
        >>> gaps = no_gaps()
        >>> for iteration in (1230, 1240):
        ...     gaps = with_capture(gaps, iteration, [math.nan] * 6, [math.nan, 0, 0, 0, math.nan, 0])
        >>> told(Timeline((), Phase.FITTING, "no diffusion yet"), gaps).reason
        'cannot tell: the training loss and the SNR are NaN from iteration 1230 on; before that, no diffusion yet'
    """
    open_ones = [place for place in TOLD if gaps[place, CAPTURES] > gaps[place, LONGEST]]
    if not open_ones:
        return timeline
    statement = _statement(gaps, open_ones)
    ended = [
        int(gaps[place, BEGAN])
        for place in ENDING
        if gaps[place, CAPTURES] >= max(LEAST, TIMES * gaps[place, LONGEST] + 1)
        and all(gaps[ratio, FINITE] < gaps[place, BEGAN] for ratio in RATIOS)
    ]
    before = timeline.current
    if not ended:
        return Timeline(timeline.transitions, before, f"{timeline.reason}; {statement}")
    reason = f"{timeline.reason}; {statement}"
    if before is not None:
        reason = f"cannot tell: {statement}; before that, {timeline.reason}"
    return Timeline(timeline.transitions, None, reason, Nonfinite(min(ended), statement, before))


def _statement(gaps: FloatArray, places: list[int]) -> str:
    """Say which quantities are no numbers, and from which iteration on, those of one iteration together."""
    together: dict[tuple[int, int], list[str]] = {}
    for place in places:
        together.setdefault((int(gaps[place, BEGAN]), int(gaps[place, KIND])), []).append(f"the {NAMES[place]}")
    return ", ".join(
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {KINDS[kind]} from iteration {began} on"
        for (began, kind), names in together.items()
    )


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
