"""Signals of the right shapes and dtypes, zero: what schemes are given to make their first states from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras import ops

from phasecore.signals import TANGENT_KERNEL_TRACES, TERM_GRADIENTS, Signals
from phasecore_keras.differentiation import Tensor
from phasecore_keras.namespace import namespace
from phasecore_keras.reading import named_variables

if TYPE_CHECKING:
    from phasecore_keras.loss import PhysicsLoss


def blank_signals(physics: PhysicsLoss, sizes: Mapping[str, int], dtype: str) -> Signals:
    """Return signals of a loss' points, zero, the costly ones too.

    Args:
        physics: the loss, which has points.
        sizes: number of residuals of each term.
        dtype: of the signals.
    """
    assert physics.points is not None

    def blank(*shape: int) -> Tensor:
        return ops.zeros(shape, dtype=dtype)

    equations = physics.problem.equations
    signals = physics.signals(
        blank(*physics.points.shape),
        {term: blank(size) for term, size in sizes.items() if term in equations},
        {term: blank(size) for term, size in sizes.items() if term not in equations},
    )
    gradients = {name: ops.zeros_like(v.value) for name, v in named_variables(physics.trainable_variables).items()}
    costly = {
        TERM_GRADIENTS: dict.fromkeys(sizes, gradients),
        TANGENT_KERNEL_TRACES: {term: blank() for term in sizes},
    }
    return Signals({**signals.values, **costly}, namespace)
