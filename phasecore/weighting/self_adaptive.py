"""Self-adaptive weights (SA-PINN): a weight of each point that ascends on the loss which the network descends.

Source: McClenny, Braga-Neto, "Self-adaptive physics-informed neural networks using a soft attention mechanism" (arXiv
2009.04544). beta1, the first weights and the mask are those of the authors' Allen-Cahn equation; their Burgers'
equation has beta1 0.9. Their optimizer is Keras's Adam, from which epsilon and its place are taken
(`keras/src/optimizers/adam.py`). The learning rate of the weights could not be checked here; which terms adapt, the
authors choose by problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals
from phasecore.weighting.arithmetic import evenly_spread, one_minus_power
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_number, check_unread

Start = float | Literal["drawn"]
Mask = Literal["square", "linear", "sigmoid"]

GROUPS = ("all", "equations", "conditions")


class SelfAdaptiveState(NamedTuple):
    """Each point's weight before the mask, Adam's two moments of its gradient, its steps, all {term: shape (n,)}."""

    weights: Mapping[str, Array]
    first: Mapping[str, Array]
    second: Mapping[str, Array]
    steps: Mapping[str, Array]


def self_adaptive(
    learning_rate: float = 0.005,
    start: Start = "drawn",
    start_conditions: Start = "drawn",
    beta1: float = 0.99,
    beta2: float = 0.999,
    epsilon: float = 1e-7,
    mask: Mask = "square",
    adapts: str = "all",
    initial: str = "initial",
    largest_initial: float = 100.0,
) -> WeightingScheme:
    """Return self-adaptive weights: Adam ascends `mean(m(w_i) r_i^2)` of every term in its weights w.

    The loss of a term, equation or condition, is `mean(m(w_i) r_i^2)` with the mask m, by default `m(w) = w^2`; its
    gradient with respect to a weight is `m'(w_i) r_i^2 / n`. As in the paper, network and weights step at the same
    time: an iteration's loss is evaluated with the weights from before its step. Each point counts its own steps, so
    that Adam's bias correction is right for points that mini-batches visit at different times.

    A step is `learning_rate sqrt(1 - beta2^k) / (1 - beta1^k) first / (sqrt(second) + epsilon)`, with Adam's moments
    not corrected for their start. As a gradient falls with the square of the residual, `epsilon` decides how weights
    grow late in a training: once gradients are well below it, weights stand still. A smaller one keeps them growing at
    the learning rate whatever the residual.

    First weights are spread over (0, 1), those of the initial condition over (0, 100). The authors draw them from
    uniform distributions; a scheme draws no random numbers, so an even sequence stands in, alike on every backend.

    Where points move, a new one takes the weight of the nearest old one, with Adam's moments and steps: what was
    learned about a place is not lost with the point there. That is ours.

    Args:
        learning_rate: Adam's for the weights, positive.
        start: first weight of every collocation point: "drawn" as above, or a positive number for all (a weight of zero
            has no gradient).
        start_conditions: first weight of every point of the conditions, likewise.
        beta1: decay of the first moment, in (0, 1).
        beta2: decay of the second moment, in (0, 1).
        epsilon: added to the root of the second moment, positive.
        mask: "square" for `m(w) = w^2`, "linear" for `w`, "sigmoid" for `1 / (1 + exp(-w))`, which is bounded.
        adapts: which terms have weights: "all", "equations", "conditions", or names of terms with "/" between them.
        initial: name of the condition whose drawn weights reach further; without it, none do.
        largest_initial: how far, positive.

    Raises:
        InputError: if an option is outside its range; when training is set up, if the problem lacks a term that
            `adapts` names.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> residuals = {"residuals": {"pde": numpy.asarray([1.0, -2.0])}, "condition_residuals": {}}
        >>> scheme, signals = self_adaptive(learning_rate=0.5, start=1.0), Signals(residuals, numpy)
        >>> weights, state = scheme.update(signals, scheme.init(signals))
        >>> weights["pde"].tolist(), state.weights["pde"].round(4).tolist()
        ([1.0, 1.0], [1.5, 1.5])
    """
    name = "self_adaptive"
    for option, value in (("start", start), ("start_conditions", start_conditions)):
        if value != "drawn":
            check_number(name, option, value, low=0, otherwise="'drawn'")
    for option, value in (
        ("learning_rate", learning_rate),
        ("epsilon", epsilon),
        ("largest_initial", largest_initial),
    ):
        check_number(name, option, value, low=0)
    check_number(name, "beta1", beta1, 0, 1)
    check_number(name, "beta2", beta2, 0, 1)
    check_choice(name, "mask", mask, get_args(Mask))
    undrawn = "" if start_conditions == "drawn" else "'start_conditions' is a number"
    check_unread(name, "initial", initial, "initial", undrawn)
    check_unread(name, "largest_initial", largest_initial, 100.0, undrawn)

    def points(signals: Signals) -> dict[str, Array]:
        """Return the residuals of the terms that adapt."""
        equations, conditions = signals[RESIDUALS], signals[CONDITION_RESIDUALS]
        everything = {**equations, **conditions}
        groups = dict(zip(GROUPS, (everything, equations, conditions), strict=True))
        named = groups[adapts] if adapts in groups else str(adapts).split("/")
        unknown = [term for term in named if term not in everything]
        if unknown:
            raise InputError(
                f"weighting {name!r}, option 'adapts'",
                received=repr(adapts),
                expected=f"one of {', '.join(GROUPS)}, or terms of the problem: {'/'.join(everything)}",
            )
        return {term: residual for term, residual in everything.items() if term in named}

    def first_weights(term: str, residual: Array, signals: Signals) -> Array:
        of_condition = term in signals[CONDITION_RESIDUALS]
        chosen = start_conditions if of_condition else start
        if chosen != "drawn":
            return chosen * signals.namespace.ones_like(residual)
        largest = largest_initial if of_condition and term == initial else 1.0
        return largest * evenly_spread(residual, signals.namespace)

    def init(signals: Signals) -> SelfAdaptiveState:
        xp = signals.namespace
        residuals = points(signals)
        return SelfAdaptiveState(
            weights={term: first_weights(term, residual, signals) for term, residual in residuals.items()},
            first={term: xp.zeros_like(residual) for term, residual in residuals.items()},
            second={term: xp.zeros_like(residual) for term, residual in residuals.items()},
            steps={term: xp.zeros_like(residual) for term, residual in residuals.items()},
        )

    def update(signals: Signals, state: SelfAdaptiveState) -> tuple[Weights, SelfAdaptiveState]:
        xp = signals.namespace
        in_use: dict[str, Array] = {}
        weights: dict[str, Array] = {}
        first: dict[str, Array] = {}
        second: dict[str, Array] = {}
        steps: dict[str, Array] = {}
        for term, residual in points(signals).items():
            in_use[term], slope = _masked(mask, state.weights[term], xp)
            gradient = slope * xp.square(residual) / signals.total(xp.ones_like(residual))
            steps[term] = state.steps[term] + 1.0
            first[term] = beta1 * state.first[term] + (1.0 - beta1) * gradient
            second[term] = beta2 * state.second[term] + (1.0 - beta2) * xp.square(gradient)
            rate = xp.sqrt(one_minus_power(beta2, steps[term], xp)) / one_minus_power(beta1, steps[term], xp)
            step = learning_rate * rate * first[term] / (xp.sqrt(second[term]) + epsilon)
            weights[term] = state.weights[term] + step
        return in_use, SelfAdaptiveState(weights, first, second, steps)

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS, CONDITION_RESIDUALS}),
        multiplies="residual",
        per_point=("weights", "first", "second", "steps"),
        on_move="nearest",
    )


def _masked(mask: Mask, weights: Array, xp: ArrayNamespace) -> tuple[Array, Array]:
    """Return what multiplies the residual, the root of m(w), and m'(w)."""
    if mask == "square":
        return weights, 2.0 * weights
    if mask == "linear":
        return xp.sqrt(weights), xp.ones_like(weights)
    value = 1.0 / (1.0 + xp.exp(-weights))
    return xp.sqrt(value), value * (1.0 - value)
