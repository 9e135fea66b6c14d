"""Fixed weights of terms, chosen by hand: what other libraries call loss weights."""

from __future__ import annotations

from typing import NamedTuple

from phasecore.errors import InputError, UnknownNameError
from phasecore.signals import TERM_LOSSES, Signals
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_number


class FixedState(NamedTuple):
    """Nothing to remember."""


def fixed(**weights: float) -> WeightingScheme:
    """Return weights that stay: the loss is the sum of `w_k mean(r_k^2)`, with a `w_k` of one where none is given.

    Args:
        weights: by term, non-negative; zero leaves a term out.

    Raises:
        InputError: for no weight at all, or one out of range; of `init`, for a term that the problem does not have.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> scheme = fixed(initial=100)
        >>> signals = Signals({"term_losses": {"pde": numpy.asarray(3.0), "initial": numpy.asarray(1.0)}}, numpy)
        >>> {term: float(w) for term, w in scheme.update(signals, scheme.init(signals))[0].items()}
        {'initial': 100.0}
    """
    if not weights:
        raise InputError(
            "weighting 'fixed'", received="no weights", expected="some, by term, such as fixed:initial=100,boundary=10"
        )
    for term, weight in weights.items():
        check_number("fixed", term, weight, low=0, low_included=True)

    def init(signals: Signals) -> FixedState:
        for term in weights:
            if term not in signals[TERM_LOSSES]:
                raise UnknownNameError("term of weighting 'fixed'", term, signals[TERM_LOSSES])
        return FixedState()

    def update(signals: Signals, state: FixedState) -> tuple[Weights, FixedState]:
        losses = signals[TERM_LOSSES]
        ones = {term: signals.namespace.ones_like(losses[term]) for term in weights}
        return {term: weight * ones[term] for term, weight in weights.items()}, state

    return WeightingScheme(
        init, update, requires=frozenset({TERM_LOSSES}), multiplies="squared_residual", constant=True
    )
