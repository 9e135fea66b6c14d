"""The loss, in total and per term, weighted and unweighted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from phasecore.probes.base import Probe
from phasecore.signals import TERM_LOSSES, WEIGHTED_TERM_LOSSES, Signals


@final
@dataclass(frozen=True)
class TermLosses(Probe):
    """`training_loss` (weighted, as the optimizer sees it), `unweighted_loss`, and both for each term.

    What a training adds to its loss beside the terms, such as regularizers, is one of the weighted losses.

    Example:
        >>> import numpy
        >>> signals = Signals({"term_losses": {"pde": 2.0}, "weighted_term_losses": {"pde": 0.5}}, numpy)
        >>> TermLosses().measure(signals)["training_loss"]
        0.5
    """

    name: ClassVar[str] = "term_losses"
    requires: ClassVar[frozenset[str]] = frozenset({TERM_LOSSES, WEIGHTED_TERM_LOSSES})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return training_loss, unweighted_loss, and loss_TERM and weighted_loss_TERM for each term or addition."""
        unweighted = {term: float(loss) for term, loss in signals[TERM_LOSSES].items()}
        weighted = {term: float(loss) for term, loss in signals[WEIGHTED_TERM_LOSSES].items()}
        return {
            "training_loss": sum(weighted.values()),
            "unweighted_loss": sum(unweighted.values()),
            **{f"loss_{term}": loss for term, loss in unweighted.items()},
            **{f"weighted_loss_{term}": loss for term, loss in weighted.items()},
        }
