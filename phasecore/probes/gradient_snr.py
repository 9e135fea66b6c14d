"""Batch signal-to-noise ratio and gradient order, over the network and per layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from phasecore.probes.base import Probe
from phasecore.probes.norms import norm, ratio
from phasecore.signals import BATCH_GRADIENT_MOMENTS, Moments, Signals


@final
@dataclass(frozen=True)
class GradientSNR(Probe):
    """`snr = norm2(mean_b g_b) / norm2(std_b g_b)` and `gradient_order = norm2(mean_b g_b) / norm2(rms_b g_b)`.

    `g_b` is the gradient of batch b's loss and the norms run over all weight matrices; the standard deviation is the
    population's, per parameter. The order lies in [0, 1] and equals `snr / sqrt(1 + snr^2)`.

    Attributes:
        per_layer: also record the two norms of each layer.

    Source: arXiv 2403.18494, equations for the SNR and the order parameter.

    Example:
        >>> import numpy
        >>> layer = Moments(numpy.asarray([3.0]), numpy.asarray([4.0]))
        >>> signals = Signals({"batch_gradient_moments": {"layer0": layer}}, numpy)
        >>> measured = GradientSNR(per_layer=False).measure(signals)
        >>> measured["snr"], measured["gradient_order"]
        (0.75, 0.6)
    """

    per_layer: bool = True

    name: ClassVar[str] = "gradient_snr"
    requires: ClassVar[frozenset[str]] = frozenset({BATCH_GRADIENT_MOMENTS})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return snr, gradient_order, gradient_mean_norm, gradient_std_norm and layerK_{mean,std}_norm."""
        layers: Mapping[str, Moments] = signals[BATCH_GRADIENT_MOMENTS]
        norms = {layer: (norm([moments.mean]), norm([moments.standard_deviation])) for layer, moments in layers.items()}
        mean_norm = math.hypot(*(mean for mean, _ in norms.values()))
        std_norm = math.hypot(*(std for _, std in norms.values()))
        measured = {
            "snr": ratio(mean_norm, std_norm),
            "gradient_order": ratio(mean_norm, math.hypot(mean_norm, std_norm)),
            "gradient_mean_norm": mean_norm,
            "gradient_std_norm": std_norm,
        }
        if self.per_layer:
            for layer, (mean, std) in norms.items():
                measured[f"{layer}_mean_norm"] = mean
                measured[f"{layer}_std_norm"] = std
        return measured
