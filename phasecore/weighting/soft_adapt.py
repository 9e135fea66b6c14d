"""SoftAdapt: a term whose loss falls slower than the others', or rises, gains weight.

Source: Heydari, Thompson, Mehmood, "SoftAdapt: Techniques for adaptive loss weighting of neural networks with
multi-part loss functions" (arXiv 1912.12355): the original, the normalized and the loss-weighted variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phasecore.arrays import Array
from phasecore.signals import TERM_LOSSES, Signals
from phasecore.weighting.arithmetic import softmax
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

FLOOR = 1e-8
"""Added to the sum of the rates of change of the normalized variant; the paper asks for a small number."""


class SoftAdaptState(NamedTuple):
    """Each term's loss at the last update, and whether there was one (1 or 0), both {term: scalar}."""

    losses: Mapping[str, Array]
    begun: Mapping[str, Array]


def soft_adapt(
    beta: float = 0.1, normalized: bool = False, loss_weighted: bool = False, every: int = 1
) -> WeightingScheme:
    """Return SoftAdapt: `w_k = exp(beta s_k) / sum_l exp(beta s_l)`, `s_k` the change of term k's loss since last time.

    Weights sum to one. The first update knows no change yet: its weights are equal, or with `loss_weighted` in
    proportion to the losses. The loss of a term is `mean(w_k r^2)`.

    Args:
        beta: how strongly a slow term is preferred; 0.1 in the paper. Negative values prefer fast ones.
        normalized: divide the changes by the sum of their absolute values, so that the losses' units do not matter.
        loss_weighted: multiply each exponential by the term's loss, so that terms that are small already count less.
        every: iterations between updates.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> scheme = soft_adapt()
        >>> signals = Signals({"term_losses": {"pde": numpy.asarray(3.0), "initial": numpy.asarray(1.0)}}, numpy)
        >>> {term: float(w) for term, w in scheme.update(signals, scheme.init(signals))[0].items()}
        {'pde': 0.5, 'initial': 0.5}
    """
    check_number("soft_adapt", "beta", beta)
    check_choice("soft_adapt", "normalized", normalized, (True, False))
    check_choice("soft_adapt", "loss_weighted", loss_weighted, (True, False))
    check_count("soft_adapt", "every", every)

    def init(signals: Signals) -> SoftAdaptState:
        xp = signals.namespace
        losses = signals[TERM_LOSSES].items()
        return SoftAdaptState(
            losses={term: xp.zeros_like(loss) for term, loss in losses},
            begun={term: xp.zeros_like(loss) for term, loss in losses},
        )

    def update(signals: Signals, state: SoftAdaptState) -> tuple[Weights, SoftAdaptState]:
        xp = signals.namespace
        losses = signals[TERM_LOSSES]
        change = {term: state.begun[term] * (loss - state.losses[term]) for term, loss in losses.items()}
        if normalized:
            size = FLOOR + xp.sum(xp.stack([xp.abs(value) for value in change.values()]))
            change = {term: value / size for term, value in change.items()}
        ones = {term: xp.ones_like(loss) for term, loss in losses.items()}
        scores = {term: beta * value for term, value in change.items()}
        weights = softmax(scores, losses if loss_weighted else ones, xp)
        return weights, SoftAdaptState({term: 1.0 * loss for term, loss in losses.items()}, ones)

    return WeightingScheme(init, update, requires=frozenset({TERM_LOSSES}), multiplies="squared_residual", every=every)
