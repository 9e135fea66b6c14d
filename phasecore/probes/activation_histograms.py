"""Where the activations of each layer lie, as counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from phasecore.probes.base import Probe
from phasecore.probes.binning import check_bins
from phasecore.signals import ACTIVATIONS, Signals


@final
@dataclass(frozen=True)
class ActivationHistograms(Probe):
    """Per layer, the number of activations, over points and neurons, in bins of equal width from smallest to largest.

    `layerK_activation_count_B` is the number of those in bin B, counted from 00, which begins at
    `layerK_activation_minimum + B * (layerK_activation_maximum - layerK_activation_minimum) / bins`; the last bin is
    closed. The counts of one layer add up to points times neurons. In pandas, a layer's histograms over the training
    are `history.filter(like="layer0_activation_count_")`.

    Attributes:
        bins: number of bins, 2 or more.

    Raises:
        InputError: if `bins` is not an integer of 2 or more.

    Example:
        >>> import numpy
        >>> layer = numpy.asarray([[0.0, 0.1], [0.2, 1.0]])
        >>> measured = ActivationHistograms(bins=2).measure(Signals({"activations": {"layer0": layer}}, numpy))
        >>> measured["layer0_activation_count_00"], measured["layer0_activation_count_01"]
        (3.0, 1.0)
    """

    bins: int = 30

    name: ClassVar[str] = "activation_histograms"
    requires: ClassVar[frozenset[str]] = frozenset({ACTIVATIONS})

    def __post_init__(self) -> None:
        check_bins(self.name, self.bins)

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return minimum, maximum and counts of each layer; counts are NaN if an activation is not finite."""
        layers: Mapping[str, NDArray[Any]] = signals[ACTIVATIONS]
        digits = max(2, len(str(self.bins - 1)))
        measured: dict[str, float] = {}
        for layer, values in layers.items():
            low, high, counts = _histogram(np.asarray(values), self.bins)
            measured[f"{layer}_activation_minimum"] = low
            measured[f"{layer}_activation_maximum"] = high
            for place, count in enumerate(counts):
                measured[f"{layer}_activation_count_{place:0{digits}d}"] = count
        return measured


def _histogram(values: NDArray[Any], bins: int) -> tuple[float, float, list[float]]:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return low, high, [math.nan] * bins
    if low == high:
        return low, high, [float(values.size)] + [0.0] * (bins - 1)
    counts, _ = np.histogram(values.astype(np.float64), bins=bins, range=(low, high))
    return low, high, [float(count) for count in counts]
