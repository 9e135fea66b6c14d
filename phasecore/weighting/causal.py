"""Causal weights: a time slab counts once the slabs before it are solved.

Source: Wang, Sankaran, Perdikaris, "Respecting causality is all you need for training physics-informed neural
networks" (arXiv 2203.07404), with its annealing of epsilon; the threshold is that of the authors' code, which also has
what `initial_factor` and `equations="minimum"` stand for. There, points are sorted and cut into slabs of equal count,
`cut="count"` here; by default slabs of equal duration gather points that lie anywhere, equally many on average where
they are drawn uniformly. Whether 32 slabs and the first epsilon are the authors' in all problems could not be found out
here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.signals import RESIDUALS, TERM_LOSSES, UNIT_COORDINATES, Signals
from phasecore.weighting.arithmetic import maximum_of, quotient
from phasecore.weighting.base import WeightingScheme, Weights
from phasecore.weighting.options import check_choice, check_count, check_number, check_unread

Equations = Literal["sum", "minimum"]
Cut = Literal["duration", "count"]

ALL = "equations"
"""The one entry of the state's mapping: all equations share it."""

HALVINGS = 20
"""How often the interval in which a slab begins is halved: to a millionth of the domain's duration."""


class CausalState(NamedTuple):
    """The current epsilon, {"equations": scalar}."""

    epsilon: Mapping[str, Array]


def causal(
    slabs: int = 32,
    epsilon: float = 0.01,
    growth: float = 10.0,
    largest: float = 100.0,
    threshold: float = 0.99,
    time: str = "t",
    equations: Equations = "sum",
    initial_factor: float = 0.0,
    initial: str = "initial",
    cut: Cut = "duration",
) -> WeightingScheme:
    """Return causal weights: `w_k = exp(-epsilon sum_{j < k} L_j)`, with `L_k` the loss of the points in time slab k.

    The domain is cut into slabs of equal duration, or of equally many points. `L_k` is the mean squared residual of the
    points in slab k, summed over the equations; the sum leaves slab k itself out, so the first slab has weight one. A
    point has its slab's weight, and the loss of an equation is `mean(w_i r_i^2)`; conditions are not weighted. Once
    every weight exceeds `threshold`, `epsilon` grows by `growth` for the iterations to come, up to `largest`. The
    authors stop the training where the weights exceed it at the largest epsilon; a scheme cannot.

    Under mini-batches `L_k` is that of the points in the batch; a slab without any counts nothing. Where points move,
    nothing is to be kept: a point's weight is that of the slab it is in.

    Args:
        slabs: number of time slabs, positive.
        epsilon: the first, positive; the paper's annealing is 0.01, 0.1, 1, 10, 100.
        growth: what epsilon is multiplied by, at least 1; 1 keeps it.
        largest: largest epsilon, at least `epsilon`.
        threshold: what the smallest weight must exceed for epsilon to grow, in (0, 1).
        time: name of the coordinate that is time.
        equations: of a system: "sum" adds their losses up; "minimum" takes the smallest of the weights that each
            equation alone would give.
        initial_factor: what the loss of the initial condition enters the exponent times, `w_k = exp(-epsilon
            (initial_factor L_0 + sum))`, 0 or more; 1e3 to 1e5 in the authors' experiments. Then no slab counts before
            the initial condition is met.
        initial: name of the term that is the initial condition.
        cut: "duration" for slabs of equal duration; "count" for as many points in each, as far as that goes without
            parting points of one moment: for points that are dense at some times.

    Raises:
        InputError: if an option is outside its range; when training is set up, if the problem has no such coordinate
            or term.

    Example:
        >>> import numpy
        >>> from phasecore.signals import Signals
        >>> points = {"x": numpy.asarray([0.5, 0.1]), "t": numpy.asarray([0.2, 0.9])}
        >>> values = {"residuals": {"pde": numpy.asarray([1.0, 2.0])}, "unit_coordinates": points}
        >>> scheme, signals = causal(slabs=2, epsilon=1.0), Signals(values, numpy)
        >>> scheme.update(signals, scheme.init(signals))[0]["pde"].round(3).tolist()
        [1.0, 0.368]
    """
    check_count("causal", "slabs", slabs)
    check_number("causal", "epsilon", epsilon, low=0)
    check_number("causal", "growth", growth, 1, low_included=True)
    check_number("causal", "largest", largest, epsilon, low_included=True)
    check_number("causal", "threshold", threshold, 0, 1)
    check_choice("causal", "equations", equations, get_args(Equations))
    check_choice("causal", "cut", cut, get_args(Cut))
    check_number("causal", "initial_factor", initial_factor, low=0, low_included=True)
    check_unread("causal", "initial", initial, "initial", "" if initial_factor else "'initial_factor' is 0")

    def init(signals: Signals) -> CausalState:
        xp = signals.namespace
        coordinates = signals[UNIT_COORDINATES]
        _check_name("time", time, coordinates, "coordinate", "a problem without time")
        if initial_factor:
            _check_name("initial", initial, signals[TERM_LOSSES], "term", "a problem without initial condition")
        return CausalState({ALL: epsilon + xp.sum(xp.zeros_like(coordinates[time]))})

    def update(signals: Signals, state: CausalState) -> tuple[Weights, CausalState]:
        xp = signals.namespace
        now = state.epsilon[ALL]
        residuals = signals[RESIDUALS]
        share = signals[UNIT_COORDINATES][time]
        edges = (
            _even_counts(share, slabs, signals)
            if cut == "count" and slabs > 1
            else [slab / slabs for slab in range(1, slabs)]
        )
        inside = _membership(share, edges, xp)
        zero = xp.zeros_like(now)
        begun = initial_factor * signals[TERM_LOSSES][initial] if initial_factor else zero
        passed = [begun] * (len(residuals) if equations == "minimum" else 1)
        slab_weights = []
        for members in inside:
            slab_weights.append(xp.exp(-now * maximum_of(passed, xp)))
            count = signals.total(members)
            losses = [
                quotient(signals.total(members * xp.square(residual)), count, zero, xp)
                for residual in residuals.values()
            ]
            passed = [
                before + loss
                for before, loss in zip(passed, losses if equations == "minimum" else [sum(losses)], strict=True)
            ]
        weight = sum(members * value for members, value in zip(inside, slab_weights, strict=True))
        grown = xp.minimum(growth * now, largest * xp.ones_like(now))
        following = xp.where(slab_weights[-1] > threshold, grown, now)
        return dict.fromkeys(residuals, weight), CausalState({ALL: following})

    of_initial = {TERM_LOSSES} if initial_factor else set()
    requires = frozenset({RESIDUALS, UNIT_COORDINATES} | of_initial)
    return WeightingScheme(init, update, requires=requires, multiplies="squared_residual")


def _check_name(option: str, name: str, there: Mapping[str, Any], kind: str, without: str) -> None:
    if name not in there:
        raise InputError(
            f"weighting 'causal', option {option!r}",
            received=f"{name!r}, and a problem without such a {kind}",
            expected=f"one of {', '.join(there)}",
            fix=f"Name the {kind} that is meant, or use another scheme for {without}.",
        )


def _even_counts(share: Array, slabs: int, signals: Signals) -> list[Array]:
    """Return where slabs but the first begin so that all hold equally many points, by halving intervals."""
    xp = signals.namespace
    ones, zeros = xp.ones_like(share), xp.zeros_like(share)
    row = xp.reshape(share, (1, -1))

    def before(moments: Array) -> Array:
        if signals.reduce is None:
            return xp.sum(xp.where(row < moments, ones, zeros), axis=1)
        return xp.stack([signals.total(xp.where(share < moments[slab], ones, zeros)) for slab in range(slabs - 1)])

    count = signals.total(ones)
    wanted = xp.stack([slab / slabs * count for slab in range(1, slabs)])
    low, high = xp.zeros_like(wanted), xp.ones_like(wanted)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        too_few = before(xp.reshape(middle, (-1, 1))) < wanted
        low, high = xp.where(too_few, middle, low), xp.where(too_few, high, middle)
    return [high[slab] for slab in range(slabs - 1)]


def _membership(share: Array, edges: Sequence[Any], xp: ArrayNamespace) -> list[Array]:
    """Return for each slab which points lie in it, ones and zeros of shape (n,); each point lies in one."""
    begun = [xp.ones_like(share)]
    begun += [xp.where(share >= edge, xp.ones_like(share), xp.zeros_like(share)) for edge in edges]
    return [*(now - later for now, later in itertools.pairwise(begun)), begun[-1]]
