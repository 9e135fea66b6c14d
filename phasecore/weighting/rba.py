"""Residual-based attention (RBA): points whose residual stays large gain weight.

Sources: Anagnostopoulos, Toscano, Stergiopulos, Karniadakis, "Residual-based attention in physics-informed neural
networks" (arXiv 2307.00379), and "Learning in PINNs: Phase transition, total diffusion, and generalization" (arXiv
2403.18494).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array
from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_number

Start = Literal["zeros", "residuals"]
Normalization = Literal["max", "minmax"]


class RBAState(NamedTuple):
    """The weight of each point, and whether it was ever updated (1 or 0), both {term: shape (n,)}."""

    weights: Mapping[str, Array]
    visited: Mapping[str, Array]


def rba(
    gamma: float = 0.999,
    eta: float = 0.001,
    start: Start = "zeros",
    normalization: Normalization = "max",
) -> WeightingScheme:
    """Return residual-based attention: `w_i <- gamma w_i + eta abs(r_i) / max_j abs(r_j)`, updated before use.

    The loss of an equation term is `mean((w_i r_i)^2)`; initial and boundary conditions are not weighted. Weights
    stay at or below `eta / (1 - gamma)`, which is 1 by default.

    Args:
        gamma: how much of a weight is kept at each update, in [0, 1).
        eta: learning rate of the weights, positive.
        start: "zeros": weights start at zero; "residuals": a point's first update uses `eta = 1`, so its weight starts
            at its normalized residual.
        normalization: "max" divides by the largest residual; "minmax" uses `(abs(r) - min) / (max - min)`, as the
            authors do for Helmholtz.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> signals = Signals({"residuals": {"pde": numpy.asarray([1.0, -2.0])}}, numpy)
        >>> scheme = rba(gamma=0.5, eta=0.5)
        >>> weights, state = scheme.update(signals, scheme.init(signals))
        >>> weights["pde"].tolist()
        [0.25, 0.5]
    """
    check_number("rba", "gamma", gamma, 0, 1, low_included=True)
    check_number("rba", "eta", eta, low=0)
    check_choice("rba", "start", start, get_args(Start))
    check_choice("rba", "normalization", normalization, get_args(Normalization))

    def init(signals: Signals) -> RBAState:
        xp = signals.namespace
        residuals = signals[RESIDUALS].items()
        return RBAState(
            weights={term: xp.zeros_like(residual) for term, residual in residuals},
            visited={term: xp.zeros_like(residual) for term, residual in residuals},
        )

    def update(signals: Signals, state: RBAState) -> tuple[Weights, RBAState]:
        xp = signals.namespace
        weights = {}
        visited = {}
        for term, residual in signals[RESIDUALS].items():
            size = xp.abs(residual)
            low = signals.minimum(size) if normalization == "minmax" else 0.0
            share = quotient(size - low, signals.maximum(size) - low, xp.zeros_like(size), xp)
            rate = eta
            if start == "residuals":
                rate = xp.where(state.visited[term] > 0, eta * xp.ones_like(share), xp.ones_like(share))
            weights[term] = gamma * state.weights[term] + rate * share
            visited[term] = xp.ones_like(share)
        return weights, RBAState(weights, visited)

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS}),
        multiplies="residual",
        per_point=("weights", "visited"),
    )
