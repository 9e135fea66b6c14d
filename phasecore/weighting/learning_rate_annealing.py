"""Learning rate annealing: each condition's gradients are raised to the size of the equations'.

Source: Wang, Teng, Perdikaris, "Understanding and mitigating gradient flow pathologies in physics-informed neural
networks" (arXiv 2001.04536). The default, `of="weighted"`, is the authors' code; the formula of the paper's algorithm,
`of="unweighted"`, was held against descriptions of it, not the text. Text and code disagree on which part of the moving
average is called alpha; here 0.1 is the new value's share, as in the code. How often the code updates could not be
found out here: `every` is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import RESIDUALS, TERM_GRADIENTS, Signals
from phasecore.weighting.arithmetic import maximum_of, quotient, with_entries
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

Of = Literal["weighted", "unweighted"]


class AnnealingState(NamedTuple):
    """The weight of each condition, {term: scalar}."""

    weights: Mapping[str, Array]


def learning_rate_annealing(alpha: float = 0.1, every: int = 10, of: Of = "weighted") -> WeightingScheme:
    """Return learning rate annealing: `w_k <- (1 - alpha) w_k + alpha max(abs(g_r)) / mean(abs(g_k))`.

    `g_r` is the gradient of the equations' losses together. What `g_k` is, is where code and paper differ:

    - `of="weighted"`, the code: the gradient of `w_k L_k`, the loss of condition k with its weight. Maximum and mean go
      over the weight matrices (all parameters of a model without any), the mean is that of the matrices' means. The
      weight tends to `sqrt(max / mean)` of the unweighted gradients.
    - `of="unweighted"`, the paper: the gradient of `L_k`; maximum and mean go over all parameters. The weight tends to
      `max / mean`.

    Weights start at one; those of equations stay there. A condition without a gradient keeps its weight. The loss of a
    condition is `mean(w_k r^2)`.

    Args:
        alpha: share of the new value in the moving average, in (0, 1]. With `of="weighted"` and 1 the weight swings
            between two values for ever.
        every: iterations between updates; each costs a backward pass per term.
        of: "weighted" or "unweighted".

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> gradients = {"pde": {"w": numpy.asarray([8.0, -2.0])}, "initial": {"w": numpy.asarray([1.0, 3.0])}}
        >>> signals = Signals({"residuals": {"pde": numpy.zeros(5)}, "term_gradients": gradients}, numpy)
        >>> def after(updates, scheme):
        ...     state = scheme.init(signals)
        ...     for _ in range(updates):
        ...         weights, state = scheme.update(signals, state)
        ...     return round(float(weights["initial"]), 6)
        >>> after(500, learning_rate_annealing()), after(500, learning_rate_annealing(of="unweighted"))
        (2.0, 4.0)
    """
    check_number("learning_rate_annealing", "alpha", alpha, 0, 1, high_included=True)
    check_count("learning_rate_annealing", "every", every)
    check_choice("learning_rate_annealing", "of", of, get_args(Of))
    mean_size = _mean_of_layers if of == "weighted" else _mean_of_entries
    counted = _matrices if of == "weighted" else with_entries

    def init(signals: Signals) -> AnnealingState:
        xp = signals.namespace
        conditions = _conditions(signals).items()
        return AnnealingState({term: xp.ones_like(xp.sum(_some(gradients))) for term, gradients in conditions})

    def update(signals: Signals, state: AnnealingState) -> tuple[Weights, AnnealingState]:
        xp = signals.namespace
        of_equations = [counted(signals[TERM_GRADIENTS][term]) for term in signals[RESIDUALS]]
        together = [sum(parts) for parts in zip(*of_equations, strict=True)]
        largest = maximum_of([xp.max(xp.abs(gradient)) for gradient in together], xp)
        weights = {}
        for term, gradients in _conditions(signals).items():
            old = state.weights[term]
            size = mean_size(counted(gradients), xp)
            new = quotient(largest, old * size if of == "weighted" else size, old, xp)
            weights[term] = (1.0 - alpha) * old + alpha * new
        return weights, AnnealingState(weights)

    return WeightingScheme(
        init, update, requires=frozenset({RESIDUALS, TERM_GRADIENTS}), multiplies="squared_residual", every=every
    )


def _conditions(signals: Signals) -> dict[str, Mapping[str, Array]]:
    equations = signals[RESIDUALS]
    return {term: gradients for term, gradients in signals[TERM_GRADIENTS].items() if term not in equations}


def _some(gradients: Mapping[str, Array]) -> Array:
    return next(iter(gradients.values()))


def _matrices(gradients: Mapping[str, Array]) -> list[Array]:
    """Return the gradients of parameters with two axes or more, all where there are none."""
    held = with_entries(gradients)
    return [gradient for gradient in held if len(gradient.shape) > 1] or held


def _mean_of_entries(gradients: Iterable[Array], xp: ArrayNamespace) -> Array:
    entries = sum(math.prod(gradient.shape) for gradient in gradients)
    return xp.sum(xp.stack([xp.sum(xp.abs(gradient)) for gradient in gradients])) / entries


def _mean_of_layers(gradients: Iterable[Array], xp: ArrayNamespace) -> Array:
    return xp.mean(xp.stack([xp.mean(xp.abs(gradient)) for gradient in gradients]))
