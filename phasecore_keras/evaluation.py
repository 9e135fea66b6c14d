"""What an evaluation of a loss has: residuals and losses, term by term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from keras import ops

from phasecore.weighting.composition import Products
from phasecore_keras.differentiation import Tensor
from phasecore_keras.namespace import namespace
from phasecore_keras.weighting import weighted_loss


class Evaluation(NamedTuple):
    """One evaluation: residuals of equations and conditions, and the loss of each term."""

    residuals: Mapping[str, Tensor]
    condition_residuals: Mapping[str, Tensor]
    unweighted: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]


def evaluation_of(residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], weights: Products) -> Evaluation:
    """Return the evaluation that follows from residuals of equations and conditions, by term, with these weights."""
    every = {**residuals, **conditions}
    return Evaluation(
        residuals,
        conditions,
        {term: namespace.mean(ops.square(residual)) for term, residual in every.items()},
        {term: weighted_loss(term, residual, weights) for term, residual in every.items()},
    )
