"""What an evaluation of a loss has: residuals and losses, term by term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phasecore_keras.differentiation import Tensor


class Evaluation(NamedTuple):
    """One evaluation: residuals of equations and conditions, and the loss of each term."""

    residuals: Mapping[str, Tensor]
    condition_residuals: Mapping[str, Tensor]
    unweighted: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]
