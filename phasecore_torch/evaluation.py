"""What an evaluation of a loss has: residuals and losses, term by term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from torch import Tensor

from phasecore.weighting.composition import Products
from phasecore_torch.arrays import lasting
from phasecore_torch.weighting import weighted_loss


class Evaluation(NamedTuple):
    """One evaluation with the current weights: residuals of equations and conditions, and the loss of each term."""

    residuals: Mapping[str, Tensor]
    condition_residuals: Mapping[str, Tensor]
    unweighted: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]


class Losses(NamedTuple):
    """Per term, the mean squared residual without weights and as it entered the loss: detached scalars."""

    unweighted: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the losses of an evaluation."""
        both = evaluation.unweighted, evaluation.weighted
        return cls(*({term: loss.detach() for term, loss in losses.items()} for losses in both))


def evaluation_of(residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], weights: Products) -> Evaluation:
    """Return the evaluation that follows from residuals of equations and conditions, by term, with these weights."""
    every = {**residuals, **conditions}
    return Evaluation(
        residuals,
        conditions,
        {term: lasting(residual).square().mean() for term, residual in every.items()},
        {term: weighted_loss(term, residual, weights) for term, residual in every.items()},
    )
