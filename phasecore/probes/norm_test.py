"""Whether a sample of points is large enough for its gradient to be a direction of descent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from phasecore.arguments import is_number
from phasecore.errors import InputError
from phasecore.probes.base import Probe
from phasecore.probes.norms import norm, ratio
from phasecore.signals import BATCH_GRADIENT_MOMENTS, BATCH_SIZES, Moments, Signals


@final
@dataclass(frozen=True)
class NormTest(Probe):
    """`theta = norm2(standard error of g) / norm2(g)`: a sample passes the norm test for every larger theta.

    g is the mean gradient of B batches and its squared standard error `s^2 / B`, where
    `s^2 = norm2(std_b g_b)^2 * B / (B - 1)` is the sample variance of the batch gradients, summed over parameters.
    `norm_test_theta` is that of all points together, `norm_test_batch_theta = s / norm2(g)` that of one batch, and
    `norm_test_points = n (norm_test_theta / theta)^2` the number of points that would just pass for the given `theta`,
    n being the number of all points.

    Attributes:
        theta: how large the standard error may be beside the gradient, between 0 and 1; 0.9 as in the source.

    Source: Byrd, Chin, Nocedal, Wu, "Sample size selection in optimization methods for machine learning" (2012),
    equations 3.3 to 3.5; Bollapragada, Byrd, Nocedal, arXiv 1710.11258. The latter's inner-product test needs the
    gradients of the batches themselves, not their moments, and is not measured.

    Raises:
        InputError: if `theta` is not between 0 and 1.

    Example:
        >>> import numpy
        >>> layer = Moments(numpy.asarray([2.0]), numpy.asarray([1.0]))
        >>> values = {"batch_gradient_moments": {"layer0": layer}, "batch_sizes": numpy.asarray([5, 5])}
        >>> NormTest().measure(Signals(values, numpy))["norm_test_theta"]
        0.5
    """

    theta: float = 0.9

    name: ClassVar[str] = "norm_test"
    requires: ClassVar[frozenset[str]] = frozenset({BATCH_GRADIENT_MOMENTS, BATCH_SIZES})

    def __post_init__(self) -> None:
        if not (is_number(self.theta) and 0 < self.theta < 1):
            raise InputError(
                "probe 'norm_test', option 'theta'",
                received=repr(self.theta),
                expected="a number between 0 and 1, both excluded",
            )

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return norm_test_theta, norm_test_batch_theta and norm_test_points."""
        layers: Mapping[str, Moments] = signals[BATCH_GRADIENT_MOMENTS]
        sizes = np.asarray(signals[BATCH_SIZES])
        batches = len(sizes)
        deviation = norm(moments.standard_deviation for moments in layers.values()) * math.sqrt(batches / (batches - 1))
        length = norm(moments.mean for moments in layers.values())
        theta = ratio(deviation / math.sqrt(batches), length)
        return {
            "norm_test_theta": theta,
            "norm_test_batch_theta": ratio(deviation, length),
            "norm_test_points": float(sizes.sum()) * (theta / self.theta) * (theta / self.theta),
        }
