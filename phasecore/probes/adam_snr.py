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
    """`adam_snr = norm2(m) / norm2(sqrt(v) + 1e-8)` over all trained parameters, m and v bias-corrected.

    Beside it `adam_update_mean = mean(abs(m) / (sqrt(v) + 1e-8))`: Adam's mean step in units of the learning rate, at
    most about one.

    Attributes:
        biases: count all trained parameters, as the authors do; if not, weight matrices alone, as the SNR of the batch
            gradients does.

    Source: both as the authors of arXiv 2403.18494 record them.

    Example:
        >>> import numpy
        >>> moments = AdamMoments(numpy.asarray([1.0]), numpy.asarray([4.0]))
        >>> round(AdamSNR().measure(Signals({"adam_moments": {"layer0": moments}}, numpy))["adam_snr"], 6)
        0.5
    """

    biases: bool = True

    name: ClassVar[str] = "adam_snr"
    requires: ClassVar[frozenset[str]] = frozenset({ADAM_MOMENTS})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return adam_snr, adam_first_moment_norm, adam_second_moment_root_norm and adam_update_mean."""
        every: list[AdamMoments] = list(signals[ADAM_MOMENTS].values())
        moments = [own for own in every if self.biases or np.ndim(own.first) >= 2]
        if not moments:
            return {}
        pairs = [(np.asarray(m, np.float64), np.sqrt(np.asarray(v, np.float64)) + EPSILON) for m, v in moments]
        first, second = (norm(arrays) for arrays in zip(*pairs, strict=True))
        updates = sum(float(np.sum(np.abs(m) / root)) for m, root in pairs)
        return {
            "adam_snr": ratio(first, second),
            "adam_first_moment_norm": first,
            "adam_second_moment_root_norm": second,
            "adam_update_mean": ratio(updates, sum(m.size for m, _ in pairs)),
        }
