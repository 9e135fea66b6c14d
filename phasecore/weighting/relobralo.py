"""Relative loss balancing with random lookback (ReLoBRaLo): terms that fell less since a reference gain weight.

Source: Bischof, Kraus, "Multi-objective loss balancing for physics-informed deep learning" (arXiv 2110.09813). The
defaults are, as we remember them, in the range that the authors recommend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import TERM_LOSSES, Signals
from phasecore.weighting.arithmetic import quotient, softmax
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

Lookback = Literal["draws", "expected"]

STEP = 648055 / 2**20
"""The golden ratio's fraction, rounded to an odd multiple of 2^-20: the sequence below is exact in float32 too."""

DRAW = "uniform"


class ReLoBRaLoState(NamedTuple):
    """Weight, first loss, last loss and whether there was one (1 or 0), all {term: scalar}; the last draw in [0, 1)."""

    weights: Mapping[str, Array]
    first: Mapping[str, Array]
    last: Mapping[str, Array]
    begun: Mapping[str, Array]
    draw: Mapping[str, Array]


def relobralo(
    alpha: float = 0.999,
    temperature: float = 0.1,
    rho: float = 0.999,
    lookback: Lookback = "draws",
    every: int = 1,
) -> WeightingScheme:
    """Return relative loss balancing with random lookback.

    With m terms and `b_k(t, s) = m softmax_k(L_k(t) / (temperature L_k(s)))`, weights are
    `w_k <- alpha (z w_k + (1 - z) b_k(t, 0)) + (1 - alpha) b_k(t, t - 1)`: the past counts `alpha`, and is now and then
    replaced by a look back to the first losses. z is 1 with probability `rho`, else 0. They are one at the first
    update, and sum to m always. The loss of a term is `mean(w_k r^2)`.

    A scheme is a pure function and has no random numbers. With "draws" (the default) z is 1 where a sequence in the
    state, `u <- u + 0.618034 mod 1` from u = 0, is below `rho`. The sequence fills [0, 1) evenly, so the share of looks
    back is right, and exactly the same on every backend and after a resume; but they come at more regular distances
    than independent draws. "expected" puts `rho` itself in z's place: as the formula is linear in z, these are the
    expected weights for a given history of losses.

    Args:
        alpha: how much the past counts, in [0, 1].
        temperature: of the softmax, positive: large values even the weights out.
        rho: probability of not looking back, in [0, 1].
        lookback: "draws" or "expected".
        every: iterations between updates.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> scheme = relobralo(alpha=0.0, temperature=1.0)
        >>> losses = [{"a": numpy.asarray(a), "b": numpy.asarray(b)} for a, b in [(1.0, 4.0), (1.0, 0.0)]]
        >>> state = scheme.init(Signals({"term_losses": losses[0]}, numpy))
        >>> for loss in losses:
        ...     weights, state = scheme.update(Signals({"term_losses": loss}, numpy), state)
        >>> {term: round(float(weight), 3) for term, weight in weights.items()}
        {'a': 1.462, 'b': 0.538}
    """
    check_number("relobralo", "alpha", alpha, 0, 1, low_included=True, high_included=True)
    check_number("relobralo", "temperature", temperature, low=0)
    check_number("relobralo", "rho", rho, 0, 1, low_included=True, high_included=True)
    check_choice("relobralo", "lookback", lookback, get_args(Lookback))
    check_count("relobralo", "every", every)

    def init(signals: Signals) -> ReLoBRaLoState:
        xp = signals.namespace
        losses = signals[TERM_LOSSES]

        def zeros() -> dict[str, Array]:
            return {term: xp.zeros_like(loss) for term, loss in losses.items()}

        some = next(iter(losses.values()))
        ones = {term: xp.ones_like(loss) for term, loss in losses.items()}
        return ReLoBRaLoState(ones, zeros(), zeros(), zeros(), {DRAW: xp.zeros_like(some)})

    def update(signals: Signals, state: ReLoBRaLoState) -> tuple[Weights, ReLoBRaLoState]:
        xp = signals.namespace
        losses = signals[TERM_LOSSES]

        def or_now(past: Mapping[str, Array]) -> dict[str, Array]:
            """Return past losses, or those of now where there is no past."""
            return {term: xp.where(state.begun[term] > 0, past[term], loss) for term, loss in losses.items()}

        first, last = or_now(state.first), or_now(state.last)
        since_first, since_last = (_balance(losses, past, temperature, xp) for past in (first, last))
        raised = state.draw[DRAW] + STEP
        draw = xp.where(raised >= 1.0, raised - 1.0, raised)
        keep = xp.where(draw < rho, xp.ones_like(draw), xp.zeros_like(draw))
        if lookback == "expected":
            keep = rho * xp.ones_like(draw)
        weights = {
            term: alpha * (keep * state.weights[term] + (1.0 - keep) * since_first[term])
            + (1.0 - alpha) * since_last[term]
            for term in losses
        }
        return weights, ReLoBRaLoState(
            weights,
            first,
            last={term: 1.0 * loss for term, loss in losses.items()},
            begun={term: xp.ones_like(loss) for term, loss in losses.items()},
            draw={DRAW: draw},
        )

    return WeightingScheme(init, update, requires=frozenset({TERM_LOSSES}), multiplies="squared_residual", every=every)


def _balance(
    now: Mapping[str, Array], past: Mapping[str, Array], temperature: float, xp: ArrayNamespace
) -> dict[str, Array]:
    """Return the number of terms times the softmax of the losses' ratios over the temperature, {term: scalar}."""
    ones = {term: xp.ones_like(loss) for term, loss in now.items()}
    scores = {term: quotient(loss, past[term], ones[term], xp) / temperature for term, loss in now.items()}
    return {term: len(now) * share for term, share in softmax(scores, ones, xp).items()}
