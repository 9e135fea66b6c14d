"""Self-adaptive weights (SA-PINN): a weight of each point that ascends on the loss which the network descends.

Source: McClenny, Braga-Neto, "Self-adaptive physics-informed neural networks using a soft attention mechanism" (arXiv
2009.04544), with the mask `m(w) = w^2`. The learning rate of the weights is that of the authors' published code as we
remember it; the text leaves it to the problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phasecore.arrays import Array
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals
from phasecore.weighting.arithmetic import one_minus_power
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_number


class SelfAdaptiveState(NamedTuple):
    """Each point's weight, Adam's two moments of its gradient, and its number of steps, all {term: shape (n,)}."""

    weights: Mapping[str, Array]
    first: Mapping[str, Array]
    second: Mapping[str, Array]
    steps: Mapping[str, Array]


def self_adaptive(
    learning_rate: float = 0.005,
    start: float = 1.0,
    start_conditions: float = 1.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> WeightingScheme:
    """Return self-adaptive weights: Adam ascends `mean((w_i r_i)^2)` of every term in its weights.

    The loss of a term, equation or condition, is `mean((w_i r_i)^2)`, whose gradient with respect to a weight is
    `2 w_i r_i^2 / n`. As in the paper, network and weights step at the same time: an iteration's loss is evaluated with
    the weights from before its step. Each point counts its own steps, so that Adam's bias correction is right for
    points that mini-batches visit at different times. The authors draw the first weights from a uniform distribution;
    here they start at one value, for a scheme draws no random numbers.

    Args:
        learning_rate: Adam's for the weights, positive.
        start: first weight of every collocation point, positive (a weight of zero has no gradient).
        start_conditions: first weight of every point of the conditions, positive.
        beta1: decay of the first moment, in (0, 1).
        beta2: decay of the second moment, in (0, 1).
        epsilon: added to the root of the second moment, positive.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> residuals = {"residuals": {"pde": numpy.asarray([1.0, -2.0])}, "condition_residuals": {}}
        >>> scheme, signals = self_adaptive(learning_rate=0.5), Signals(residuals, numpy)
        >>> weights, state = scheme.update(signals, scheme.init(signals))
        >>> weights["pde"].tolist(), state.weights["pde"].round(6).tolist()
        ([1.0, 1.0], [1.5, 1.5])
    """
    name = "self_adaptive"
    for option, value in (
        ("learning_rate", learning_rate),
        ("start", start),
        ("start_conditions", start_conditions),
        ("epsilon", epsilon),
    ):
        check_number(name, option, value, low=0)
    check_number(name, "beta1", beta1, 0, 1)
    check_number(name, "beta2", beta2, 0, 1)

    def init(signals: Signals) -> SelfAdaptiveState:
        xp = signals.namespace
        equations, conditions = signals[RESIDUALS], signals[CONDITION_RESIDUALS]
        points = {**equations, **conditions}
        weights = {term: start * xp.ones_like(residual) for term, residual in equations.items()}
        weights |= {term: start_conditions * xp.ones_like(residual) for term, residual in conditions.items()}
        return SelfAdaptiveState(
            weights=weights,
            first={term: xp.zeros_like(residual) for term, residual in points.items()},
            second={term: xp.zeros_like(residual) for term, residual in points.items()},
            steps={term: xp.zeros_like(residual) for term, residual in points.items()},
        )

    def update(signals: Signals, state: SelfAdaptiveState) -> tuple[Weights, SelfAdaptiveState]:
        xp = signals.namespace
        weights: dict[str, Array] = {}
        first: dict[str, Array] = {}
        second: dict[str, Array] = {}
        steps: dict[str, Array] = {}
        for term, residual in {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}.items():
            count = signals.total(xp.ones_like(residual))
            gradient = 2.0 * state.weights[term] * xp.square(residual) / count
            steps[term] = state.steps[term] + 1.0
            first[term] = beta1 * state.first[term] + (1.0 - beta1) * gradient
            second[term] = beta2 * state.second[term] + (1.0 - beta2) * xp.square(gradient)
            mean = first[term] / one_minus_power(beta1, steps[term], xp)
            square = second[term] / one_minus_power(beta2, steps[term], xp)
            weights[term] = state.weights[term] + learning_rate * mean / (xp.sqrt(square) + epsilon)
        return state.weights, SelfAdaptiveState(weights, first, second, steps)

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS, CONDITION_RESIDUALS}),
        multiplies="residual",
        per_point=("weights", "first", "second", "steps"),
    )
