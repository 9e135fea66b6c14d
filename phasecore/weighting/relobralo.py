"""Relative loss balancing with random lookback (ReLoBRaLo): terms that fell less since a reference gain weight.

Source: Bischof, Kraus, "Multi-objective loss balancing for physics-informed deep learning" (arXiv 2110.09813). Defaults
and the first two updates are those of the authors' code; copies of it in other libraries have temperature 0.1 and rho
0.99. The random lookback is theirs, the even sequence in its place is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.signals import TERM_LOSSES, Signals
from phasecore.weighting.arithmetic import GOLDEN, PARTS, quotient, softmax
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number

Lookback = Literal["draws", "expected"]

DRAW = "uniform"
ALL = "all"


class ReLoBRaLoState(NamedTuple):
    """What is remembered of the terms, {term: scalar}, and of the training.

    Attributes:
        weights: each term's weight.
        reference: its loss at the second update, at the first until then.
        last: its loss at the last update.
        draw: the last draw in [0, 1), {"uniform": scalar}.
        updates: their number, counted to 2, {"all": scalar}.
    """

    weights: Mapping[str, Array]
    reference: Mapping[str, Array]
    last: Mapping[str, Array]
    draw: Mapping[str, Array]
    updates: Mapping[str, Array]


def relobralo(
    alpha: float = 0.999,
    temperature: float = 1.0,
    rho: float = 1.0,
    lookback: Lookback = "draws",
    every: int = 1,
) -> WeightingScheme:
    """Return relative loss balancing with random lookback.

    With m terms and `b_k(t, s) = m softmax_k(L_k(t) / (temperature L_k(s)))`, weights at update t = 0, 1, 2, ... are
    `w_k <- alpha_t (z w_k + (1 - z) b_k(t, 1)) + (1 - alpha_t) b_k(t, t - 1)`: the past counts `alpha_t`, and is now
    and then replaced by a look back to the reference losses, those of the second update. `alpha_t` is 1 at the first
    update, whose weights are one, 0 at the second, which takes over the balance at hand, and `alpha` from then on. z is
    1 with probability `rho`, else 0. Weights sum to m always. The loss of a term is `mean(w_k r^2)`.

    A scheme is a pure function and has no random numbers. With "draws" (the default) z is 1 where a sequence in the
    state, `u <- u + 0.618034 mod 1` from u = 0, is below `rho`. The sequence fills [0, 1) evenly, so the share of looks
    back is right, and exactly the same on every backend and after a resume; but they come at more regular distances
    than independent draws. "expected" puts `rho` itself in z's place: as the formula is linear in z, these are the
    expected weights for a given history of losses.

    Args:
        alpha: how much the past counts, in [0, 1].
        temperature: of the softmax, positive: large values even the weights out.
        rho: probability of not looking back, in [0, 1]; 1 never does.
        lookback: "draws" or "expected".
        every: iterations between updates.

    Raises:
        InputError: if an option is outside its range.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> scheme = relobralo()
        >>> losses = [{"a": numpy.asarray(a), "b": numpy.asarray(b)} for a, b in [(1.0, 1.0), (1.0, 2.0)]]
        >>> state = scheme.init(Signals({"term_losses": losses[0]}, numpy))
        >>> for loss in losses:
        ...     weights, state = scheme.update(Signals({"term_losses": loss}, numpy), state)
        >>> {term: round(float(weight), 3) for term, weight in weights.items()}
        {'a': 0.538, 'b': 1.462}
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
        return ReLoBRaLoState(ones, zeros(), zeros(), {DRAW: xp.zeros_like(some)}, {ALL: xp.zeros_like(some)})

    def update(signals: Signals, state: ReLoBRaLoState) -> tuple[Weights, ReLoBRaLoState]:
        xp = signals.namespace
        losses = signals[TERM_LOSSES]
        done = state.updates[ALL]
        last = {term: xp.where(done > 0, state.last[term], loss) for term, loss in losses.items()}
        reference = {term: xp.where(done > 1, state.reference[term], loss) for term, loss in losses.items()}
        since_reference, since_last = (_balance(losses, past, temperature, xp) for past in (reference, last))
        raised = state.draw[DRAW] + GOLDEN / PARTS
        draw = xp.where(raised >= 1.0, raised - 1.0, raised)
        keep = xp.where(draw < rho, xp.ones_like(draw), xp.zeros_like(draw))
        if lookback == "expected":
            keep = rho * xp.ones_like(draw)
        later = xp.where(done > 1, alpha * xp.ones_like(done), xp.zeros_like(done))
        of_past = xp.where(done > 0, later, xp.ones_like(done))
        weights = {
            term: of_past * (keep * state.weights[term] + (1.0 - keep) * since_reference[term])
            + (1.0 - of_past) * since_last[term]
            for term in losses
        }
        return weights, ReLoBRaLoState(
            weights,
            reference,
            last={term: 1.0 * loss for term, loss in losses.items()},
            draw={DRAW: draw},
            updates={ALL: xp.minimum(done + 1.0, 2.0 * xp.ones_like(done))},
        )

    return WeightingScheme(init, update, requires=frozenset({TERM_LOSSES}), multiplies="squared_residual", every=every)


def _balance(
    now: Mapping[str, Array], past: Mapping[str, Array], temperature: float, xp: ArrayNamespace
) -> dict[str, Array]:
    """Return the number of terms times the softmax of the losses' ratios over the temperature, {term: scalar}."""
    ones = {term: xp.ones_like(loss) for term, loss in now.items()}
    scores = {term: quotient(loss, past[term], ones[term], xp) / temperature for term, loss in now.items()}
    return {term: len(now) * share for term, share in softmax(scores, ones, xp).items()}
