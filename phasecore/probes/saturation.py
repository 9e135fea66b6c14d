"""How much of a layer's activations lies at the ends of what its neurons reach."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from phasecore.probes.base import Probe
from phasecore.probes.binning import bin_counts, blocks, check_bins, of_each_layer, ranges
from phasecore.signals import ACTIVATIONS, Signals


@final
@dataclass(frozen=True)
class Saturation(Probe):
    """Per layer, `mean_j (share of points i with a_ij < min_i a_ij + w_j or a_ij > max_i a_ij - w_j)`.

    `a_ij` is the activation of neuron j at point i. With `w = mean_j range_j / bins` and `range_j = max_i a_ij - min_i
    a_ij`, neuron j has `n_j = max(1, floor(range_j / w))` bins of width `w_j = range_j / n_j`: the share of activations
    in the two end bins of their neuron's range, averaged over the neurons. Near 1, the neurons act as switches;
    `2 / bins` is that of activations that fill equal ranges evenly. A neuron with one bin or two lies in them all. It
    is NaN for a layer that is constant over the points.

    Attributes:
        bins: number of bins of a range of average length, 2 or more.

    Source: arXiv 2403.18494 (saturation of the layers of a tanh network, 30 bins); the bins are those of its authors'
    code.

    Raises:
        InputError: if `bins` is not an integer of 2 or more.

    Example:
        >>> import numpy
        >>> halfway = numpy.asarray([[-1.0], [1.0], [0.0], [0.5]])
        >>> Saturation().measure(Signals({"activations": {"layer0": halfway}}, numpy))
        {'layer0_saturation': 0.5}
    """

    bins: int = 30

    name: ClassVar[str] = "saturation"
    requires: ClassVar[frozenset[str]] = frozenset({ACTIVATIONS})

    def __post_init__(self) -> None:
        check_bins(self.name, self.bins)

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return layerK_saturation for each hidden layer, in [0, 1]."""
        found = of_each_layer(functools.partial(_saturation, bins=self.bins), signals[ACTIVATIONS])
        return {f"{layer}_saturation": share for layer, share in found.items()}


def _saturation(values: NDArray[Any], bins: int) -> float:
    low, high = ranges(values)
    counts = bin_counts(low, high, bins)
    if counts is None or not (high > low).any():
        return math.nan
    width = (high - low) / counts
    # compared in the activations' own dtype, with thresholds rounded such that the answer is that of float64
    above = _rounded(low + width, values.dtype, np.inf)
    below = _rounded(high - width, values.dtype, -np.inf)
    within = np.asarray(counts > 2)
    inside = sum(np.count_nonzero((block >= above) & (block <= below) & within) for block in blocks(values))
    return float((values.size - inside) / values.size)


def _rounded(threshold: NDArray[np.float64], dtype: np.dtype[Any], direction: float) -> NDArray[Any]:
    """The nearest number of the dtype that is not on the other side of the threshold."""
    rounded = threshold.astype(dtype)
    beyond = rounded < threshold if direction > 0 else rounded > threshold
    return np.where(beyond, np.nextafter(rounded, np.asarray(direction, dtype=dtype)), rounded)
