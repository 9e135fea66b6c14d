"""How many different states a layer takes over the points, in bits."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from numpy.typing import NDArray

from phasecore.probes.base import Probe
from phasecore.probes.binning import (
    bin_counts,
    cells_of,
    check_bins,
    entropy_bits,
    of_each_layer,
    pattern_labels,
    ranges,
)
from phasecore.signals import ACTIVATIONS, Signals


@final
@dataclass(frozen=True)
class LayerEntropy(Probe):
    """Per layer, `H(T) = -sum_t p(t) log2 p(t)`, where T is the joint pattern of the layer's binned activations.

    The pattern of a point is the bin of every neuron of the layer; `p(t)` is the share of the collocation points with
    pattern t. Bins are those of `saturation`: with `w = mean_j (max_i a_ij - min_i a_ij) / bins`, neuron j's range is
    divided into `max(1, floor(range_j / w))` equal bins, so a neuron that moves little has few. Flipping a neuron's
    sign, a symmetry of tanh networks, changes nothing (but for activations right between two bins). As the layer is a
    function of its input X, this is also the mutual information `I(X; T) = H(T) - H(T | X)`. It is at most `log2(n)`
    for n points, and 0 where all points look alike.

    Attributes:
        bins: number of bins of a range of average length, 2 or more.

    Source: arXiv 2403.18494 (30 bins), divided among the neurons as in its authors' code; Shwartz-Ziv and Tishby, arXiv
    1703.00810 (binned estimate of I(X; T)).

    Raises:
        InputError: if `bins` is not an integer of 2 or more.

    Example:
        >>> import numpy
        >>> four_states = numpy.asarray([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        >>> LayerEntropy().measure(Signals({"activations": {"layer0": four_states}}, numpy))
        {'layer0_entropy_bits': 2.0}
    """

    bins: int = 30

    name: ClassVar[str] = "layer_entropy"
    requires: ClassVar[frozenset[str]] = frozenset({ACTIVATIONS})

    def __post_init__(self) -> None:
        check_bins(self.name, self.bins)

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return layerK_entropy_bits for each hidden layer, NaN if an activation is not finite."""
        found = of_each_layer(functools.partial(_entropy, bins=self.bins), signals[ACTIVATIONS])
        return {f"{layer}_entropy_bits": entropy for layer, entropy in found.items()}


def _entropy(values: NDArray[Any], bins: int) -> float:
    low, high = ranges(values)
    counts = bin_counts(low, high, bins)
    return math.nan if counts is None else entropy_bits(pattern_labels(cells_of(values, low, high, counts)))
