"""How uniform the residuals are over the domain."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from phasecore.arguments import is_whole
from phasecore.errors import InputError
from phasecore.probes.base import Probe
from phasecore.probes.binning import joint_labels
from phasecore.signals import COORDINATES, DOMAIN, RESIDUAL_ATTENTION, RESIDUALS, Signals


@final
@dataclass(frozen=True)
class ResidualOrder(Probe):
    """Mean over spatial bins over root mean square over bins, of a per-point quantity averaged in each bin.

    It is 1 where the quantity is uniform over the domain and falls as it concentrates. `residual_order` is that of the
    residual-based attention (a slow average of the normalized residuals, as in the paper, tracked beside the training
    where another scheme is in use), `absolute_residual_order` that of the absolute residuals at this iteration. A
    system's equations are averaged, each divided by its own mean; bins without points are left out.

    Attributes:
        bins: bins along each of the coordinates.

    Source: arXiv 2403.18494 (order parameter of the RBA weights in 10 x 10 bins).

    Raises:
        InputError: if `bins` is not positive.
    """

    bins: int = 10

    name: ClassVar[str] = "residual_order"
    requires: ClassVar[frozenset[str]] = frozenset({RESIDUALS, RESIDUAL_ATTENTION, COORDINATES, DOMAIN})

    def __post_init__(self) -> None:
        if not is_whole(self.bins):
            raise InputError(
                "probe 'residual_order', option 'bins'", received=repr(self.bins), expected="a positive integer"
            )

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return residual_order and absolute_residual_order, in [0, 1]."""
        low, high = np.asarray(signals[DOMAIN], dtype=np.float64)
        coordinates = np.asarray(signals[COORDINATES], dtype=np.float64)
        cells = np.clip((self.bins * (coordinates - low) / (high - low)).astype(np.int64), 0, self.bins - 1)
        # numbers of the cells that hold points, at most as many: all cells of many dimensions are too many to count
        cell = functools.reduce(joint_labels, cells.T, np.zeros(len(cells), dtype=np.intp))
        return {
            "residual_order": _order(signals[RESIDUAL_ATTENTION], cell),
            "absolute_residual_order": _order(signals[RESIDUALS], cell),
        }


def _order(quantity: Mapping[str, Any], cell: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    counts = np.bincount(cell)
    total = np.zeros(len(counts))
    for values in quantity.values():
        magnitude = np.abs(np.asarray(values, dtype=np.float64))
        mean = magnitude.mean()
        if mean > 0:
            total += np.bincount(cell, weights=magnitude / mean) / counts
    root_mean_square = float(np.sqrt(np.mean(total**2)))
    return float(total.mean() / root_mean_square) if root_mean_square > 0 else 1.0
