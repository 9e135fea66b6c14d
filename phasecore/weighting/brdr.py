"""Balanced residual decay rate (BRDR): points whose residual decays slowly gain weight.

Source: Chen, Howard, Stinis, "Self-adaptive weights based on balanced residual decay rate for physics-informed neural
networks and deep operator networks" (arXiv 2407.01613). The formula is given from memory; whether the authors correct
the bias of the moving average is not certain (it cancels in full batch, up to `epsilon`). The scale factor by which
they also raise the learning rate is left out: it multiplies all weights alike, and is the optimizer's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phasecore.arrays import Array
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals
from phasecore.weighting.arithmetic import one_minus_power, quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_number


class BRDRState(NamedTuple):
    """Each point's weight, moving average of its residual's fourth power, and visits, all {term: shape (n,)}."""

    weights: Mapping[str, Array]
    fourth: Mapping[str, Array]
    visits: Mapping[str, Array]


def brdr(decay: float = 0.999, weight_decay: float = 0.999, epsilon: float = 1e-14) -> WeightingScheme:
    """Return weights that balance how fast residuals decay, over the points of equations and conditions together.

    With `a_i <- decay a_i + (1 - decay) r_i^4`, corrected for its start at zero, the inverse residual decay rate is
    `q_i = r_i^2 / sqrt(a_i + epsilon)`: large where the residual is large compared with its own past. Weights follow it
    relative to its mean over all points of all terms: `w_i <- weight_decay w_i + (1 - weight_decay) q_i / mean(q)`,
    from one. The loss of a term is `mean(w_i r_i^2)`.

    Args:
        decay: of the moving average of the fourth power, in (0, 1).
        weight_decay: of the moving average of the weights, in [0, 1).
        epsilon: keeps the root from zero, positive.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> residuals = {"residuals": {"pde": numpy.asarray([1.0, -2.0])}, "condition_residuals": {}}
        >>> scheme, signals = brdr(), Signals(residuals, numpy)
        >>> scheme.update(signals, scheme.init(signals))[0]["pde"].round(6).tolist()
        [1.0, 1.0]
    """
    check_number("brdr", "decay", decay, 0, 1)
    check_number("brdr", "weight_decay", weight_decay, 0, 1, low_included=True)
    check_number("brdr", "epsilon", epsilon, low=0)

    def init(signals: Signals) -> BRDRState:
        xp = signals.namespace
        points = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        return BRDRState(
            weights={term: xp.ones_like(residual) for term, residual in points.items()},
            fourth={term: xp.zeros_like(residual) for term, residual in points.items()},
            visits={term: xp.zeros_like(residual) for term, residual in points.items()},
        )

    def update(signals: Signals, state: BRDRState) -> tuple[Weights, BRDRState]:
        xp = signals.namespace
        fourth, visits, rates = {}, {}, {}
        for term, residual in {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}.items():
            square = xp.square(residual)
            fourth[term] = decay * state.fourth[term] + (1.0 - decay) * xp.square(square)
            visits[term] = state.visits[term] + 1.0
            average = fourth[term] / one_minus_power(decay, visits[term], xp)
            rates[term] = square / xp.sqrt(average + epsilon)
        total = xp.sum(xp.stack([signals.total(rate) for rate in rates.values()]))
        count = xp.sum(xp.stack([signals.total(xp.ones_like(rate)) for rate in rates.values()]))
        weights = {
            term: weight_decay * state.weights[term]
            + (1.0 - weight_decay) * quotient(rate, total / count, xp.ones_like(rate), xp)
            for term, rate in rates.items()
        }
        return weights, BRDRState(weights, fourth, visits)

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS, CONDITION_RESIDUALS}),
        multiplies="squared_residual",
        per_point=("weights", "fourth", "visits"),
    )
