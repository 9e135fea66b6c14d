"""Learning rate annealing: each condition's gradients are raised to the size of the equations'.

Source: Wang, Teng, Perdikaris, "Understanding and mitigating gradient flow pathologies in physics-informed neural
networks" (arXiv 2001.04536). Text and published code disagree on which part of the moving average is called alpha;
here 0.1 is the new value's share, as in the code. That the code updates every 10 iterations is from memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from phasecore.arrays import Array
from phasecore.signals import RESIDUALS, TERM_GRADIENTS, Signals
from phasecore.weighting.arithmetic import maximum_of, quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_count, check_number


class AnnealingState(NamedTuple):
    """The weight of each condition, {term: scalar}."""

    weights: Mapping[str, Array]


def learning_rate_annealing(alpha: float = 0.1, every: int = 10) -> WeightingScheme:
    """Return learning rate annealing: `w_k <- (1 - alpha) w_k + alpha max(abs(g_r)) / mean(abs(g_k))`.

    `g_r` is the gradient of the equations' losses together, `g_k` that of condition k's loss, both without weights;
    maximum and mean go over all parameters. Weights start at one; those of equations stay there. A condition without a
    gradient keeps its weight. The loss of a condition is `mean(w_k r^2)`.

    Args:
        alpha: share of the new value in the moving average, in (0, 1].
        every: iterations between updates; each costs a backward pass per term.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> gradients = {"pde": {"w": numpy.asarray([8.0, -2.0])}, "initial": {"w": numpy.asarray([1.0, 3.0])}}
        >>> signals = Signals({"residuals": {"pde": numpy.zeros(5)}, "term_gradients": gradients}, numpy)
        >>> scheme = learning_rate_annealing(alpha=1.0)
        >>> {term: float(weight) for term, weight in scheme.update(signals, scheme.init(signals))[0].items()}
        {'initial': 4.0}
    """
    check_number("learning_rate_annealing", "alpha", alpha, 0, 1, high_included=True)
    check_count("learning_rate_annealing", "every", every)

    def init(signals: Signals) -> AnnealingState:
        xp = signals.namespace
        conditions = _conditions(signals).items()
        return AnnealingState({term: xp.ones_like(xp.sum(_some(gradients))) for term, gradients in conditions})

    def update(signals: Signals, state: AnnealingState) -> tuple[Weights, AnnealingState]:
        xp = signals.namespace
        of_equations = [signals[TERM_GRADIENTS][term] for term in signals[RESIDUALS]]
        together = [sum(own[parameter] for own in of_equations) for parameter in of_equations[0]]
        largest = maximum_of([xp.max(xp.abs(gradient)) for gradient in together], xp)
        weights = {}
        for term, gradients in _conditions(signals).items():
            entries = sum(math.prod(gradient.shape) for gradient in gradients.values())
            sizes = [xp.sum(xp.abs(gradient)) for gradient in gradients.values()]
            mean = xp.sum(xp.stack(sizes)) / entries
            new = quotient(largest, mean, state.weights[term], xp)
            weights[term] = (1.0 - alpha) * state.weights[term] + alpha * new
        return weights, AnnealingState(weights)

    return WeightingScheme(
        init, update, requires=frozenset({RESIDUALS, TERM_GRADIENTS}), multiplies="squared_residual", every=every
    )


def _conditions(signals: Signals) -> dict[str, Mapping[str, Array]]:
    equations = signals[RESIDUALS]
    return {term: gradients for term, gradients in signals[TERM_GRADIENTS].items() if term not in equations}


def _some(gradients: Mapping[str, Array]) -> Array:
    return next(iter(gradients.values()))
