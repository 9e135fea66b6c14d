"""The signal-to-noise ratio that Adam keeps anyway: its first moment over the root of its second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from phasecore.probes.base import Probe
from phasecore.probes.norms import norm, ratio
from phasecore.signals import ADAM_MOMENTS, AdamMoments, Signals

EPSILON = 1e-8


@final
@dataclass(frozen=True)
class AdamSNR(Probe):
    """`adam_snr = norm2(m) / norm2(sqrt(v) + 1e-8)` over all weight matrices, with bias-corrected moments m and v.

    Example:
        >>> import numpy
        >>> moments = AdamMoments(numpy.asarray([1.0]), numpy.asarray([4.0]))
        >>> round(AdamSNR().measure(Signals({"adam_moments": {"layer0": moments}}, numpy))["adam_snr"], 6)
        0.5
    """

    name: ClassVar[str] = "adam_snr"
    requires: ClassVar[frozenset[str]] = frozenset({ADAM_MOMENTS})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return adam_snr, adam_first_moment_norm and adam_second_moment_root_norm."""
        moments: list[AdamMoments] = list(signals[ADAM_MOMENTS].values())
        first = norm(moment.first for moment in moments)
        second = norm(np.sqrt(moment.second) + EPSILON for moment in moments)
        return {
            "adam_snr": ratio(first, second),
            "adam_first_moment_norm": first,
            "adam_second_moment_root_norm": second,
        }
