"""Gradient norm balancing: every term's weighted gradient has the same norm.

Source: Wang, Sankaran, Wang, Perdikaris, "An expert's guide to training physics-informed neural networks" (arXiv
2308.08468), the training algorithm's loss balancing step, with alpha and `every`. The default `numerator="mean"` is
that of the authors' code, jaxpi; the guide's is "sum". jaxpi updates first after 100 steps, here the first iteration
updates, as with every scheme. (Not Chen's GradNorm, arXiv 1711.02257, of the same name.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array
from phasecore.signals import TERM_GRADIENTS, Signals
from phasecore.weighting.arithmetic import norm, quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

Numerator = Literal["mean", "sum"]


class GradNormState(NamedTuple):
    """The weight of each term, {term: scalar}."""

    weights: Mapping[str, Array]


def grad_norm(alpha: float = 0.9, every: int = 1000, numerator: Numerator = "mean") -> WeightingScheme:
    """Return gradient norm balancing: `w_k <- alpha w_k + (1 - alpha) mean_l norm2(g_l) / norm2(g_k)`.

    `g_k` is the gradient of term k's loss without `w_k`, over all parameters. Weights start at one; a term without a
    gradient keeps its weight. The loss of a term is `mean(w_k r^2)`. With the mean, terms whose gradients are equally
    long keep the weight one; with the sum, all weights are larger by the number of terms, as if the learning rate were.

    Args:
        alpha: how much of a weight is kept at each update, in [0, 1).
        every: iterations between updates, 1000 in the paper; each costs a backward pass per term.
        numerator: "mean" of the norms, or their "sum".

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> gradients = {"pde": {"w": numpy.asarray([3.0, -4.0])}, "initial": {"w": numpy.asarray([1.0, 0.0])}}
        >>> signals, scheme = Signals({"term_gradients": gradients}, numpy), grad_norm(alpha=0.0)
        >>> {term: float(w) for term, w in scheme.update(signals, scheme.init(signals))[0].items()}
        {'pde': 0.6, 'initial': 3.0}
    """
    check_number("grad_norm", "alpha", alpha, 0, 1, low_included=True)
    check_count("grad_norm", "every", every)
    check_choice("grad_norm", "numerator", numerator, get_args(Numerator))

    def init(signals: Signals) -> GradNormState:
        xp = signals.namespace
        return GradNormState(
            {term: xp.ones_like(norm(gradients, xp)) for term, gradients in signals[TERM_GRADIENTS].items()}
        )

    def update(signals: Signals, state: GradNormState) -> tuple[Weights, GradNormState]:
        xp = signals.namespace
        norms = {term: norm(gradients, xp) for term, gradients in signals[TERM_GRADIENTS].items()}
        stacked = xp.stack(list(norms.values()))
        common = xp.mean(stacked) if numerator == "mean" else xp.sum(stacked)
        weights = {
            term: alpha * state.weights[term] + (1.0 - alpha) * quotient(common, own, state.weights[term], xp)
            for term, own in norms.items()
        }
        return weights, GradNormState(weights)

    return WeightingScheme(
        init, update, requires=frozenset({TERM_GRADIENTS}), multiplies="squared_residual", every=every
    )
