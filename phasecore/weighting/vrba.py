"""Variational residual-based attention (vRBA): residual-based attention whose shape follows from a convex potential.

Source: Toscano and others, "A variational framework for residual-based adaptivity in neural PDE solvers and operator
learning" (arXiv 2509.14198): that a potential's derivative gives the distribution over points, and that weights follow
it as in residual-based attention. The exponential potential, its annealing and the defaults are those of the authors'
code. It also has potentials named cosh, superexponential, logarithmic and Lp, whose formulas could not be found out
here: the functions below, and their scale, that of the exponential one, are ours, and so is that the smoothing enters
what weights follow rather than the weights in use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import RESIDUALS, Signals
from phasecore.weighting.arithmetic import quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_number, check_unread

Potential = Literal["exponential", "quadratic", "cosh", "superexponential", "logarithmic", "power"]

ALL = "equations"
"""The one entry of the count of updates, which all equations share."""


class VRBAState(NamedTuple):
    """The weight of each point, {term: shape (n,)}, and the number of updates, {"equations": scalar}."""

    weights: Mapping[str, Array]
    updates: Mapping[str, Array]


def vrba(
    potential: Potential = "exponential",
    gamma: float = 0.999,
    eta: float = 0.01,
    temperature: float | None = None,
    c_log: float = 1.0,
    smoothing: float = 1.0,
    start: float = 0.1,
    power: float = 4.0,
) -> WeightingScheme:
    """Return variational residual-based attention: `w_i <- gamma w_i + eta (phi q_i + 1 - phi)`, updated before use.

    phi is `smoothing`. `q_i` is the potential's derivative over its largest value, at the residual relative to the
    largest, `s_i = abs(r_i) / max_j abs(r_j)`, and over a temperature T that anneals: `T = c_log / ln(k + 2)` at update
    k = 0, 1, 2, ... The worst point has `q_i = 1`:

    | potential | derivative |
    |---|---|
    | "exponential", which targets the largest error | `exp(s / T)` |
    | "quadratic", which targets the variance: residual-based attention as it was | `s` |
    | "cosh" | `sinh(s / T)` |
    | "superexponential" | `s exp(s^2 / T)` |
    | "logarithmic" | `ln(1 + s / T)` |
    | "power" | `s^(power - 1)` |

    Weights stay below `eta / (1 - gamma)`, 10 by default, once those of the start are forgotten. The loss of an
    equation term is `mean((w_i r_i)^2)`; conditions are not weighted. Where points move, a new one takes the weight of
    the nearest old one.

    Args:
        potential: one of the names above.
        gamma: how much of a weight is kept at each update, in [0, 1): 0.999 for Adam, 0.1 for quasi-Newton steps.
        eta: learning rate of the weights, positive.
        temperature: a temperature that stays, positive, in place of the annealed one; 0.2 is the annealed one of
            iteration 146. "quadratic" and "power" have no temperature.
        c_log: what the annealed temperature is multiplied by, positive.
        smoothing: phi, in (0, 1]: 0.8 in the authors' experiments with first-order optimizers, 1 in later ones.
            Below 1 a point without residual still gains `1 - phi` of what the worst one does.
        start: first weight of every point, 0 or more: 0 in the authors' first experiments, 0.1 in later ones.
        power: the exponent p of the potential `s^p / p`, above 1; of "power" alone.

    Raises:
        InputError: if an option is outside its range, or set where another option or the potential leaves it unread.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> signals = Signals({"residuals": {"pde": numpy.asarray([1.0, 0.0])}}, numpy)
        >>> scheme = vrba(gamma=0.0, eta=1.0)
        >>> state = scheme.init(signals)
        >>> for _ in range(9):
        ...     weights, state = scheme.update(signals, state)
        >>> weights["pde"].round(6).tolist()
        [1.0, 0.1]
    """
    check_choice("vrba", "potential", potential, get_args(Potential))
    check_number("vrba", "gamma", gamma, 0, 1, low_included=True)
    check_number("vrba", "eta", eta, low=0)
    check_number("vrba", "smoothing", smoothing, 0, 1, high_included=True)
    check_number("vrba", "start", start, low=0, low_included=True)
    check_number("vrba", "c_log", c_log, low=0)
    check_number("vrba", "power", power, low=1)
    if temperature is not None:
        check_number("vrba", "temperature", temperature, low=0)
    has_none = f"the potential {potential!r} has no temperature" if potential in ("quadratic", "power") else ""
    check_unread("vrba", "c_log", c_log, 1.0, has_none)
    check_unread("vrba", "c_log", c_log, 1.0, "" if temperature is None else "'temperature' replaces the annealed one")
    check_unread("vrba", "temperature", temperature, None, has_none)
    check_unread("vrba", "power", power, 4.0, "" if potential == "power" else f"the potential is {potential!r}")

    def init(signals: Signals) -> VRBAState:
        xp = signals.namespace
        residuals = signals[RESIDUALS]
        some = next(iter(residuals.values()))
        return VRBAState(
            {term: start * xp.ones_like(residual) for term, residual in residuals.items()},
            {ALL: xp.sum(xp.zeros_like(some))},
        )

    def update(signals: Signals, state: VRBAState) -> tuple[Weights, VRBAState]:
        xp = signals.namespace
        done = state.updates[ALL]
        inverse = xp.log(done + 2.0) / c_log if temperature is None else xp.ones_like(done) / temperature
        weights = {}
        for term, residual in signals[RESIDUALS].items():
            size = xp.abs(residual)
            share = quotient(size, signals.maximum(size), xp.zeros_like(size), xp)
            target = share ** (power - 1.0) if potential == "power" else _DERIVATIVES[potential](share, inverse, xp)
            weights[term] = gamma * state.weights[term] + eta * (smoothing * target + (1.0 - smoothing))
        return weights, VRBAState(weights, {ALL: done + 1.0})

    return WeightingScheme(
        init, update, requires=frozenset({RESIDUALS}), multiplies="residual", per_point=("weights",), on_move="nearest"
    )


def _exponential(share: Array, inverse: Array, xp: ArrayNamespace) -> Array:
    return xp.exp((share - 1.0) * inverse)


def _quadratic(share: Array, inverse: Array, xp: ArrayNamespace) -> Array:
    return share


def _cosh(share: Array, inverse: Array, xp: ArrayNamespace) -> Array:
    """Return `sinh(s / T) / sinh(1 / T)` with no power above one, which might be too large a number."""
    return xp.exp((share - 1.0) * inverse) * xp.expm1(-2.0 * inverse * share) / xp.expm1(-2.0 * inverse)


def _superexponential(share: Array, inverse: Array, xp: ArrayNamespace) -> Array:
    return share * xp.exp((xp.square(share) - 1.0) * inverse)


def _logarithmic(share: Array, inverse: Array, xp: ArrayNamespace) -> Array:
    return xp.log1p(share * inverse) / xp.log1p(inverse)


_DERIVATIVES: Mapping[str, Callable[[Array, Array, ArrayNamespace], Array]] = MappingProxyType(
    {
        "exponential": _exponential,
        "quadratic": _quadratic,
        "cosh": _cosh,
        "superexponential": _superexponential,
        "logarithmic": _logarithmic,
    }
)
"""Of the potentials, each over its value at the worst point; `inverse` is one over the temperature, a scalar."""
