"""Variational residual-based attention (vRBA): residual-based attention whose shape follows from a convex potential.

Source: Toscano and others, "A variational framework for residual-based adaptivity in neural PDE solvers and operator
learning" (arXiv 2509.14198). Given from memory: that a potential's derivative gives the distribution over points, and
that weights follow it as in residual-based attention, is the paper's. How the exponential potential is scaled is ours
(`temperature`, relative to the largest residual, so that units do not matter), and so are the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array
from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_number

Potential = Literal["exponential", "quadratic"]


class VRBAState(NamedTuple):
    """The weight of each point, {term: shape (n,)}."""

    weights: Mapping[str, Array]


def vrba(
    potential: Potential = "exponential",
    gamma: float = 0.999,
    eta: float = 0.001,
    temperature: float = 0.2,
) -> WeightingScheme:
    """Return variational residual-based attention: `w_i <- gamma w_i + eta q_i / max_j q_j`, updated before use.

    `q_i` is the potential's derivative at the residual relative to the largest, `s_i = abs(r_i) / max_j abs(r_j)`:
    `exp(s_i / temperature)` for the exponential potential, which targets the largest error, and `s_i` for the quadratic
    one, which targets the variance and is residual-based attention as it was. The loss of an equation term is
    `mean((w_i r_i)^2)`; conditions are not weighted.

    Args:
        potential: "exponential" or "quadratic".
        gamma: how much of a weight is kept at each update, in [0, 1).
        eta: learning rate of the weights, positive.
        temperature: how soft the exponential potential is, positive: a point without residual gets
            `exp(-1 / temperature)` of the share of the worst point. The quadratic one does not read it.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> signals = Signals({"residuals": {"pde": numpy.asarray([1.0, -2.0])}}, numpy)
        >>> scheme = vrba("quadratic", gamma=0.5, eta=0.5)
        >>> scheme.update(signals, scheme.init(signals))[0]["pde"].tolist()
        [0.25, 0.5]
    """
    check_choice("vrba", "potential", potential, get_args(Potential))
    check_number("vrba", "gamma", gamma, 0, 1, low_included=True)
    check_number("vrba", "eta", eta, low=0)
    check_number("vrba", "temperature", temperature, low=0)

    def init(signals: Signals) -> VRBAState:
        xp = signals.namespace
        return VRBAState({term: xp.zeros_like(residual) for term, residual in signals[RESIDUALS].items()})

    def update(signals: Signals, state: VRBAState) -> tuple[Weights, VRBAState]:
        xp = signals.namespace
        weights = {}
        for term, residual in signals[RESIDUALS].items():
            size = xp.abs(residual)
            share = quotient(size, signals.maximum(size), xp.zeros_like(size), xp)
            if potential == "exponential":
                share = xp.exp((share - 1.0) / temperature)
            weights[term] = gamma * state.weights[term] + eta * share
        return weights, VRBAState(weights)

    return WeightingScheme(init, update, requires=frozenset({RESIDUALS}), multiplies="residual", per_point=("weights",))
