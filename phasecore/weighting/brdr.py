"""Balanced residual decay rate (BRDR): points whose residual decays slowly gain weight.

Source: Chen, Howard, Stinis, "Self-adaptive weights based on balanced residual decay rate for physics-informed neural
networks and deep operator networks" (arXiv 2407.01613). Formula, defaults and what mini-batches change are those of the
authors' code. Its adaptive scale, by which the learning is sped up as a whole, is left out: its formula could not be
found out here; it multiplies the weights of all points alike, as a learning rate does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phasecore.arrays import Array
from phasecore.signals import CONDITION_RESIDUALS, RESIDUALS, Signals
from phasecore.weighting.arithmetic import one_minus_power, quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_number

ALL = "all"
"""The one entry of the count of updates, which all terms share."""


class BRDRState(NamedTuple):
    """What is remembered of the points, {term: shape (n,)}, and of the training.

    Attributes:
        weights: each point's weight.
        fourth: the moving average of its residual's fourth power, not yet corrected for its start at zero.
        seen: the number of the update that saw it last, 0 before.
        updates: their number, {"all": scalar}.
    """

    weights: Mapping[str, Array]
    fourth: Mapping[str, Array]
    seen: Mapping[str, Array]
    updates: Mapping[str, Array]


def brdr(decay: float = 0.999, weight_decay: float = 0.999, epsilon: float = 1e-14) -> WeightingScheme:
    """Return weights that balance how fast residuals decay, over the points of equations and conditions together.

    With `a_i` the moving average of `r_i^4`, the inverse residual decay rate is `q_i = r_i^2 / (sqrt(a_i) + epsilon)`:
    large where the residual is large compared with its own past. Weights follow it relative to its mean over all points
    of all terms, `q_i / mean(q)`, from one. The loss of a term is `mean(w_i r_i^2)`.

    Update t moves an average from its old value towards the new one by the share `1 - beta^d`, with d the number of
    updates since the point was seen last (1 in full batch) and beta `decay` or `weight_decay`: under mini-batches what
    a point remembers fades with the updates of the training, not with its own. The average of `r_i^4` begins at zero
    and is divided by `1 - decay^t`.

    Where points move, a new one takes the weight and the past of the nearest old one, which its residual is compared
    with. That is ours.

    Args:
        decay: of the moving average of the fourth power, in (0, 1).
        weight_decay: of the moving average of the weights, in [0, 1).
        epsilon: added to the root of the average, positive.

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
        some = next(iter(points.values()))
        return BRDRState(
            weights={term: xp.ones_like(residual) for term, residual in points.items()},
            fourth={term: xp.zeros_like(residual) for term, residual in points.items()},
            seen={term: xp.zeros_like(residual) for term, residual in points.items()},
            updates={ALL: xp.sum(xp.zeros_like(some))},
        )

    def update(signals: Signals, state: BRDRState) -> tuple[Weights, BRDRState]:
        xp = signals.namespace
        points = {**signals[RESIDUALS], **signals[CONDITION_RESIDUALS]}
        now = state.updates[ALL] + 1.0
        fourth, seen, rates = {}, {}, {}
        for term, residual in points.items():
            square = xp.square(residual)
            old = state.fourth[term]
            new_share = one_minus_power(decay, now - state.seen[term], xp)
            fourth[term] = old + new_share * (xp.square(square) - old)
            average = fourth[term] / one_minus_power(decay, now, xp)
            rates[term] = square / (xp.sqrt(average) + epsilon)
            seen[term] = now * xp.ones_like(residual)
        total = xp.sum(xp.stack([signals.total(rate) for rate in rates.values()]))
        count = xp.sum(xp.stack([signals.total(xp.ones_like(rate)) for rate in rates.values()]))
        weights = {}
        for term, rate in rates.items():
            new = quotient(rate, total / count, xp.ones_like(rate), xp)
            new_share = one_minus_power(weight_decay, now - state.seen[term], xp)
            weights[term] = state.weights[term] + new_share * (new - state.weights[term])
        return weights, BRDRState(weights, fourth, seen, {ALL: now})

    return WeightingScheme(
        init,
        update,
        requires=frozenset({RESIDUALS, CONDITION_RESIDUALS}),
        multiplies="squared_residual",
        per_point=("weights", "fourth", "seen"),
        on_move="nearest",
    )
