"""The contract of a weighting scheme: pure functions over signals, with explicit state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from phasecore.arrays import Array
from phasecore.errors import PluginError
from phasecore.signals import Signals

State = Any
"""A scheme's own NamedTuple, whose fields are mappings of term to array."""

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


def state_leaves(state: State) -> Iterator[tuple[str, Array]]:
    """Yield each array of a scheme's state by a name of its own, in the order of the fields.

    Example:
        >>> from phasecore.weighting.rba import RBAState
        >>> [name for name, _ in state_leaves(RBAState({"pde": 0.0}, {"pde": 0.0}))]
        ['weights_pde', 'visited_pde']
    """
    for field, value in zip(state._fields, state, strict=True):
        if isinstance(value, Mapping):
            for key, leaf in value.items():
                yield f"{field}_{key}", leaf
        else:
            yield field, value


def check_weight_shape(name: str, term: str, shape: tuple[int, ...], sizes: Mapping[str, int]) -> None:
    """Refuse weights of a term that is not there, or of a wrong shape.

    Args:
        name: the scheme, as messages call it.
        term: the term that is weighted.
        shape: of its weights.
        sizes: number of points of each term.

    Raises:
        PluginError: naming scheme, term, and the shapes that there may be.

    Example:
        >>> check_weight_shape("rba", "pde", (30,), {"pde": 30})
    """
    if term not in sizes:
        raise PluginError(f"weighting {name!r}", received=f"weights of term {term!r}", expected=f"{[*sizes]}")
    if shape not in ((), (sizes[term],)):
        raise PluginError(
            f"weighting {name!r}, weights of term {term!r}",
            received=f"shape {shape}",
            expected=f"() for the whole term, or ({sizes[term]},), one for each of its points",
        )


def check_weight_range(
    name: str, scheme: WeightingScheme, term: str, least: float, largest: float, iteration: int
) -> None:
    """Refuse weights that are not finite, or negative where they multiply squares.

    Args:
        name: the scheme, as messages call it.
        scheme: the scheme.
        term: the term that is weighted.
        least: its smallest weight.
        largest: its largest weight.
        iteration: at which these are its weights.

    Raises:
        PluginError: naming scheme, term and iteration.

    Example:
        >>> from phasecore.weighting.rba import rba
        >>> check_weight_range("rba", rba(), "pde", 0.0, 1.0, iteration=10)
    """
    of_squares = scheme.multiplies == "squared_residual"
    if not (math.isfinite(least) and math.isfinite(largest)) or (of_squares and least < 0):
        raise PluginError(
            f"weighting {name!r}, weights of term {term!r} at iteration {iteration}",
            received=f"values from {least:g} to {largest:g}",
            expected="finite numbers" + (", 0 or more" if of_squares else ""),
            fix="Lower the scheme's rates, or the optimizer's learning rate if the loss has grown too.",
        )
