"""Residual-based attention (RBA): points whose residual stays large gain weight.

Sources: Anagnostopoulos, Toscano, Stergiopulos, Karniadakis, "Residual-based attention in physics-informed neural
networks" (arXiv 2307.00379), and "Learning in PINNs: Phase transition, total diffusion, and generalization" (arXiv
2403.18494); the defaults are theirs. `shared`, `offset` and a decay from a growing bound are options of their code; by
what their bound grows could not be found out here, so its growth is the user's to set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_number, check_unread

Start = Literal["zeros", "residuals"]
Normalization = Literal["max", "minmax"]


class RBAState(NamedTuple):
    """The weight of each point, and how often it was updated, both {term: shape (n,)}."""

    weights: Mapping[str, Array]
    visited: Mapping[str, Array]


def rba(
    gamma: float = 0.999,
    eta: float = 0.001,
    start: Start = "zeros",
    normalization: Normalization = "max",
    shared: bool = False,
    offset: float = 0.0,
    bound: float | None = None,
    bound_growth: float = 0.0,
    largest_bound: float = math.inf,
) -> WeightingScheme:
    """Return residual-based attention: `w_i <- gamma w_i + eta abs(r_i) / max_j abs(r_j)`, updated before use.

    The loss of an equation term is `mean((w_i r_i)^2)`; initial and boundary conditions are not weighted. Weights
    stay at or below `eta / (1 - gamma)`, which is 1 by default.

    With `bound`, gamma follows from it, `gamma = 1 - eta / bound`: weights stay at or below the bound. It may grow: at
    a point's update k = 0, 1, 2, ... it is `min(bound + bound_growth k, largest_bound)`.

    Where points move, a new one takes the weight, and the count of updates, of the nearest old one: weights follow the
    residual slowly, so that neighbours have about the same, and from zero a new point would be unseen for long.

    Args:
        gamma: how much of a weight is kept at each update, in [0, 1).
        eta: learning rate of the weights, positive.
        start: "zeros": weights start at zero; "residuals": a point's first update uses `eta = 1`, so its weight starts
            at its normalized residual.
        normalization: "max" divides by the largest residual; "minmax" uses `(abs(r) - min) / (max - min)`, as the
            authors do for Helmholtz.
        shared: whether the equations of a system have one weight, of the sum of their absolute residuals, as in the
            authors' lid-driven cavity; otherwise each has its own.
        offset: what every weight begins at and decays to (the authors' lambda_min), 0 or more; bounds come on top.
        bound: in place of gamma, at least `eta`.
        bound_growth: what the bound grows by at each update of a point, 0 or more.
        largest_bound: where it stops growing, at least `bound`.

    Raises:
        InputError: if an option is outside its range, or set where others leave it unread.

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
    check_choice("rba", "shared", shared, (True, False))
    check_number("rba", "offset", offset, low=0, low_included=True)
    _check_bound(gamma, eta, bound, bound_growth, largest_bound)

    def decay(visited: Array, xp: ArrayNamespace) -> Array | float:
        if bound is None:
            return gamma
        grown = bound + bound_growth * visited
        limited = grown if largest_bound == math.inf else xp.minimum(grown, largest_bound * xp.ones_like(grown))
        return 1.0 - eta / limited

    def init(signals: Signals) -> RBAState:
        xp = signals.namespace
        residuals = signals[RESIDUALS].items()
        return RBAState(
            weights={term: offset + xp.zeros_like(residual) for term, residual in residuals},
            visited={term: xp.zeros_like(residual) for term, residual in residuals},
        )

    def update(signals: Signals, state: RBAState) -> tuple[Weights, RBAState]:
        xp = signals.namespace
        sizes = {term: xp.abs(residual) for term, residual in signals[RESIDUALS].items()}
        if shared:
            sizes = dict.fromkeys(sizes, sum(sizes.values()))
        weights = {}
        visited = {}
        for term, size in sizes.items():
            low = signals.minimum(size) if normalization == "minmax" else 0.0
            share = quotient(size - low, signals.maximum(size) - low, xp.zeros_like(size), xp)
            before = state.visited[term]
            rate = eta
            if start == "residuals":
                rate = xp.where(before > 0, eta * xp.ones_like(share), xp.ones_like(share))
            weights[term] = offset + decay(before, xp) * (state.weights[term] - offset) + rate * share
            visited[term] = before + 1.0
        return weights, RBAState(weights, visited)

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS}),
        multiplies="residual",
        per_point=("weights", "visited"),
        on_move="nearest",
    )


def _check_bound(gamma: float, eta: float, bound: float | None, bound_growth: float, largest_bound: float) -> None:
    unread = "" if bound is not None else "without 'bound' there is none to grow"
    check_unread("rba", "bound_growth", bound_growth, 0.0, unread)
    check_unread("rba", "largest_bound", largest_bound, math.inf, unread)
    if bound is None:
        return
    check_unread("rba", "gamma", gamma, 0.999, "'bound' gives it, 1 - eta / bound")
    check_number("rba", "bound", bound, eta, low_included=True)
    check_number("rba", "bound_growth", bound_growth, 0, low_included=True)
    if largest_bound != math.inf:
        check_number("rba", "largest_bound", largest_bound, bound, low_included=True)
