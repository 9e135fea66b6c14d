"""How many points a batch needs for its gradient to say more than its noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from phasecore.probes.base import Probe
from phasecore.probes.norms import norm
from phasecore.signals import BATCH_GRADIENT_MOMENTS, BATCH_SIZES, Moments, Signals


@final
@dataclass(frozen=True)
class GradientNoiseScale(Probe):
    """`B_simple = tr(Sigma) / norm2(G)^2`, in points, from unbiased estimates of both.

    G is the expected gradient, of the weight matrices as in `gradient_snr`, and Sigma the covariance of the gradient of
    one point. With B batches of b points, `g`
    the mean of their gradients and `s^2 = B / (B - 1) * norm2(std_b g_b)^2` the sample variance summed over parameters,
    `tr(Sigma) = b s^2` and `norm2(G)^2 = norm2(g)^2 - s^2 / B` have the right expectations. For batches of different
    sizes b is their harmonic mean, which keeps both unbiased. Batches much smaller than B_simple are mostly noise, much
    larger ones waste points.

    Noise may leave no estimate of the gradient: where `norm2(g)^2 <= s^2 / B`, the noise scale is infinite.

    Source: McCandlish, Kaplan, Amodei, arXiv 1812.06162, equation 2.9 and appendix A.1.

    Example:
        >>> import numpy
        >>> layer = Moments(numpy.asarray([2.0]), numpy.asarray([1.0]))
        >>> values = {"batch_gradient_moments": {"layer0": layer}, "batch_sizes": numpy.asarray([5, 5])}
        >>> round(GradientNoiseScale().measure(Signals(values, numpy))["gradient_noise_scale_points"], 3)
        3.333
    """

    name: ClassVar[str] = "gradient_noise_scale"
    requires: ClassVar[frozenset[str]] = frozenset({BATCH_GRADIENT_MOMENTS, BATCH_SIZES})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return gradient_noise_scale_points, gradient_noise_trace and gradient_squared_norm_unbiased."""
        layers: Mapping[str, Moments] = signals[BATCH_GRADIENT_MOMENTS]
        sizes = np.asarray(signals[BATCH_SIZES], dtype=np.float64)
        batches = len(sizes)
        points = batches / float(np.sum(1 / sizes))
        deviation = norm(moments.standard_deviation for moments in layers.values())
        length = norm(moments.mean for moments in layers.values())
        variance = deviation * deviation * batches / (batches - 1)
        squared_norm = length * length - variance / batches
        trace = points * variance
        return {
            "gradient_noise_scale_points": _ratio(trace, squared_norm),
            "gradient_noise_trace": trace,
            "gradient_squared_norm_unbiased": squared_norm,
        }


def _ratio(trace: float, squared_norm: float) -> float:
    if squared_norm <= 0:
        return math.inf if trace > 0 else math.nan
    return trace / squared_norm
