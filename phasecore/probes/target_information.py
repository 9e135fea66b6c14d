"""How much a layer's state says about the solution, in bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from phasecore.probes.base import Probe
from phasecore.probes.binning import (
    bin_counts,
    cells_of,
    check_bins,
    entropy_bits,
    joint_labels,
    pattern_labels,
    ranges,
)
from phasecore.signals import ACTIVATIONS, TARGETS, Signals


@final
@dataclass(frozen=True)
class TargetInformation(Probe):
    """Per layer, `I(T; Y) = H(T) - H(T | Y) = H(T) + H(Y) - H(T, Y)`, with the layer's pattern T of `layer_entropy`.

    Y is the reference solution at the collocation points, each field in `target_bins` bins of equal width between its
    smallest and its largest value; several fields count jointly. Together with `layer_entropy`, which is I(X; T), it
    places each layer in the information plane. I(T; Y) lies between 0 and H(Y), and reaches H(Y) as soon as the pattern
    tells the bin of the target: also where nearly every point has a pattern of its own.

    Attributes:
        bins: number of bins of a range of average length, 2 or more.
        target_bins: number of bins of each field of the target, 2 or more.

    Source: Shwartz-Ziv and Tishby, arXiv 1703.00810 (binned estimate); arXiv 2403.18494.

    Raises:
        InputError: if a number of bins is not an integer of 2 or more.

    Example:
        >>> import numpy
        >>> signs = numpy.asarray([[-1.0], [-1.0], [1.0], [1.0]])
        >>> targets = {"u": numpy.asarray([0.0, 1.0, 2.0, 3.0])}
        >>> TargetInformation().measure(Signals({"activations": {"layer0": signs}, "targets": targets}, numpy))
        {'target_entropy_bits': 2.0, 'layer0_target_information_bits': 1.0}
    """

    bins: int = 30
    target_bins: int = 30

    name: ClassVar[str] = "target_information"
    requires: ClassVar[frozenset[str]] = frozenset({ACTIVATIONS, TARGETS})

    def __post_init__(self) -> None:
        check_bins(self.name, self.bins)
        check_bins(self.name, self.target_bins, "target_bins")

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return target_entropy_bits, and layerK_target_information_bits for each hidden layer."""
        fields: Mapping[str, NDArray[Any]] = signals[TARGETS]
        target = np.stack([np.asarray(values, dtype=np.float64) for values in fields.values()], axis=1)
        low, high = ranges(target)
        finite = bool(np.isfinite(low).all() and np.isfinite(high).all())
        labels = pattern_labels(cells_of(target, low, high, self.target_bins)) if finite else None
        measured = {"target_entropy_bits": math.nan if labels is None else entropy_bits(labels)}
        for layer, values in signals[ACTIVATIONS].items():
            measured[f"{layer}_target_information_bits"] = self._information(np.asarray(values), labels)
        return measured

    def _information(self, values: NDArray[Any], target: NDArray[np.intp] | None) -> float:
        low, high = ranges(values)
        counts = bin_counts(low, high, self.bins)
        if target is None or counts is None:
            return math.nan
        layer = pattern_labels(cells_of(values, low, high, counts))
        joint = joint_labels(layer, target)
        # rounding of the three entropies, not information
        return max(0.0, entropy_bits(layer) + entropy_bits(target) - entropy_bits(joint))
