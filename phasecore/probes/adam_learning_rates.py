"""Whether Adam's learning rates are in equilibrium: how much they differ between the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.probes.base import Probe
from phasecore.probes.norms import ratio
from phasecore.signals import ADAM_LEARNING_RATES, Signals


@final
@dataclass(frozen=True)
class AdamLearningRates(Probe):
    """Mean and coefficient of variation of Adam's effective learning rates, `lr / (sqrt(v) + epsilon)`.

    They run over all entries of all trained parameters; v is Adam's bias-corrected second moment, under AMSGrad the
    largest so far, lr and epsilon are the optimizer's. The coefficient is the population standard deviation over the
    mean, 0 where all learning rates are one; it does not depend on lr.

    Attributes:
        per_layer: also record both of each layer's weight matrix.

    Source: arXiv 2403.18494, which names an equilibrium of the learning rates among the signs of total diffusion.

    Example:
        >>> import numpy
        >>> rates = {"layer0": numpy.asarray([[1.0, 3.0]])}
        >>> AdamLearningRates(per_layer=False).measure(Signals({"adam_learning_rates": rates}, numpy))
        {'adam_learning_rate_mean': 2.0, 'adam_learning_rate_variation': 0.5}
    """

    per_layer: bool = True

    name: ClassVar[str] = "adam_learning_rates"
    requires: ClassVar[frozenset[str]] = frozenset({ADAM_LEARNING_RATES})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return adam_learning_rate_{mean,variation}, and layerK_adam_learning_rate_{mean,variation}."""
        rates: Mapping[str, ArrayLike] = signals[ADAM_LEARNING_RATES]
        measured = _spread("", list(rates.values()))
        if self.per_layer:
            for layer, own in rates.items():
                if np.ndim(own) >= 2 and np.size(own):
                    measured |= _spread(f"{layer}_", [own])
        return measured


def _spread(prefix: str, rates: Sequence[ArrayLike]) -> dict[str, float]:
    values = np.concatenate([np.ravel(np.asarray(own, dtype=np.float64)) for own in rates])
    mean = float(np.mean(values))
    return {
        f"{prefix}adam_learning_rate_mean": mean,
        f"{prefix}adam_learning_rate_variation": ratio(float(np.std(values)), mean),
    }
