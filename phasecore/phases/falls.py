"""The falls of the SNR and of Adam's, followed side by side.

Adam's second moment remembers a thousand iterations, so Adam's SNR goes on sinking long after the gradients have
changed: beside an SNR, its fall ends where it first rests. That tells of the end of fitting where the SNR was low from
the first capture on, and where Adam's SNR has turned up from it, what the SNR falls further is not of its fall.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import ADAM_SNR, SNR
from phasecore.phases.configuration import DetectorConfiguration
from phasecore.phases.fall import Fall, follow_fall
from phasecore.phases.knee import Knee, knee
from phasecore.phases.profile import clipped

FloatArray = npt.NDArray[np.float64]


class Falls(NamedTuple):
    """Two falls.

    Args:
        first: of the SNR, or of Adam's where no SNR was recorded.
        beside: of Adam's beside the SNR.
    """

    first: Fall = Fall()
    beside: Fall = Fall()


def follow_falls(
    falls: Falls,
    times: FloatArray,
    values: FloatArray,
    now: float,
    seen_snr: bool,
    configuration: DetectorConfiguration,
) -> Falls:
    """Take in one more bin; the falls given are left as they were.

    Args:
        falls: what is known so far.
        times: logarithmic times of the last bins, the newest last, shape `(bins,)`.
        values: the channels in them, shape `(6, bins)`.
        now: logarithmic time of the last capture.
        seen_snr: whether the SNR was ever recorded.
        configuration: of the detector.
    """
    first, beside = falls
    sources = (ADAM_SNR, SNR) if seen_snr else (ADAM_SNR,)
    for source in sources:
        recorded = np.isfinite(values[source])
        if not recorded[-1]:
            continue
        bins = times[recorded], values[source, recorded], values[:, -1], now, configuration
        if seen_snr and source == ADAM_SNR:
            beside = follow_fall(beside, *bins, first_rest=True)
        else:
            first = follow_fall(first, *bins, adam=beside)
    return Falls(first, beside)


def knee_of(times: FloatArray, values: FloatArray, source: int, near: float, stop: float) -> Knee | None:
    """Return the knee of the fall of the SNR, to which Adam's has something to say, or of Adam's alone.

    Args:
        times: logarithmic times, shape `(bins,)`.
        values: the channels, shape `(6, bins)`.
        source: whose fall it is.
        near: where it ended, about.
        stop: logarithmic time from which the SNR is not of this fall any more.
    """
    recorded = np.isfinite(values[source])
    snr, adam = clipped(values[[source, ADAM_SNR]][:, recorded])
    return knee(times[recorded], snr, near, stop, adam if source == SNR else None)
