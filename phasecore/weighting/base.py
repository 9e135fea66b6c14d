"""The contract of a weighting scheme: pure functions over signals, with explicit state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from phasecore.arrays import Array
from phasecore.signals import Signals

State = Any
"""A scheme's own NamedTuple, whose fields are mappings of term to array, or arrays."""

Weights = Mapping[str, Array]
"""Per term: a weight for each of its points, shape (n,), or a scalar; an absent term has weight one."""


class WeightingScheme(NamedTuple):
    """What a weighting factory returns; the style is optax's `GradientTransformation`.

    Both functions are pure and branch-free, and use only `signals.namespace` (see `phasecore.arrays`), so they
    run on every backend and under its compiler. Weights are used as constants: no gradient flows into them.

    Attributes:
        init: `init(signals) -> state`. The signals have the right shapes and dtypes; their values are zero.
        update: `update(signals, state) -> (weights, state)`, called before the weights are used.
        requires: names of the signals that both read (`phasecore.signals`).
        multiplies: whether the weight multiplies the residual (the loss is `mean((w r)^2)`) or its square
            (`mean(w r^2)`).
        per_point: names of the state's fields that hold one value per point of each term. Under mini-batches the
            backend hands `update` the rows of the collocation points in the batch and writes them back, so a weight
            stays with its point; the points of conditions, and the other fields, are always handed over whole.
        every: iterations between updates, for schemes that read costly signals. The first iteration updates; until the
            next update the weights stay as they are.
        on_move: what becomes of a point's state, and its weight, where points move in training. A point that stays
            keeps them in any case. A new one takes those of the nearest old one ("nearest"), or begins as `init` has
            it, its weight the mean of the others' until the next update ("anew"); "refused" forbids moves. While
            weights are held, a new point has that of the nearest old one in any case, as no update is to come.
        constant: whether the weights are the same whatever the signals' values. They are in use from the start then,
            where those of other schemes are one until their first update, and are never updated.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> rba(gamma=0.99, eta=0.01).multiplies
        'residual'
    """

    init: Callable[[Signals], State]
    update: Callable[[Signals, State], tuple[Weights, State]]
    requires: frozenset[str]
    multiplies: Literal["residual", "squared_residual"] = "residual"
    per_point: tuple[str, ...] = ()
    every: int = 1
    on_move: Literal["nearest", "anew", "refused"] = "nearest"
    constant: bool = False
