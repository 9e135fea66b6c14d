"""No weighting: every point and every term counts the same."""

from __future__ import annotations

from typing import NamedTuple

from phasecore.signals import Signals
from phasecore.weighting.base import WeightingScheme, Weights


class UniformState(NamedTuple):
    """Nothing to remember."""


def uniform() -> WeightingScheme:
    """Return the scheme that weights nothing (a "vanilla" PINN).

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> scheme = uniform()
        >>> signals = Signals({}, numpy)
        >>> scheme.update(signals, scheme.init(signals))[0]
        {}
    """

    def init(signals: Signals) -> UniformState:
        return UniformState()

    def update(signals: Signals, state: UniformState) -> tuple[Weights, UniformState]:
        return {}, state

    return WeightingScheme(init, update, requires=frozenset())
