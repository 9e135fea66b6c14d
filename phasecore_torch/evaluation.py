"""What an evaluation of a loss has: residuals and losses, term by term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


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
