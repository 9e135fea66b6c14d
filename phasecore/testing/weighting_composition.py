"""The law of weighting schemes beside others: a scheme of terms beside one of points."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from phasecore.monitoring.host_weighting import HostWeighting
from phasecore.signals import RESIDUALS, TERM_LOSSES, Signals
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.made_signals import make_signals
from phasecore.testing.trees import Tree, difference, map_leaves
from phasecore.testing.weighting_subject import UPDATES, WeightingSubject
from phasecore.weighting.base import WeightingScheme
from phasecore.weighting.composition import OF_WEIGHTED_TERMS, reads_weighted_terms

HALF = 0.5
"""The weight of every point of an equation; it multiplies the residual."""


def composes_with_weights_of_points(subject: WeightingSubject) -> None:
    """Beside point weights of one half, a scheme that reads gradients or traces weights terms as of half the residuals.

    So what it balances is what is minimized: of two terms with equal gradients, the one whose points weigh one half has
    a gradient of a quarter, and `grad_norm` gives it four times the weight of the other.
    """
    if not reads_weighted_terms(subject.scheme):
        raise NotApplicableError("the scheme reads neither gradients nor traces of terms")
    scheme = subject.scheme._replace(every=1)
    equations = subject.layout.equations
    supplies = {RESIDUALS, *scheme.requires}
    composed = HostWeighting({"halved": _halved(), subject.name: scheme}, "made up", supplies)
    alone = HostWeighting({subject.name: scheme}, "made up", supplies)
    for seed in range(UPDATES):
        values = make_signals(sorted(supplies), subject.layout, seed, np.float64, subject.extra)
        lesser = dict(values)
        for name, factor in ((RESIDUALS, HALF), *((name, HALF**2) for name in (TERM_LOSSES, *OF_WEIGHTED_TERMS))):
            if name in lesser:
                lesser[name] = _scaled(lesser[name], dict.fromkeys(equations, factor))
        alone.update(lesser, seed)
        if any(alone.point_factor(term).ndim for term in subject.layout.terms):
            raise NotApplicableError("the scheme weights points itself")

        def further(required: frozenset[str], values: Mapping[str, Tree] = values) -> dict[str, Tree]:
            """The gradient of `mean((f r)^2)`, and the trace, for an f that is the same at all points of a term."""
            factors = {term: np.unique(composed.point_factor(term)).item() ** 2 for term in subject.layout.terms}
            return {name: _scaled(values[name], factors) for name in required}

        composed.update(values, seed, further)
        expected = {term: alone.factor(term) * (HALF if term in equations else 1.0) for term in subject.layout.terms}
        points = subject.layout.points
        expected |= {term: np.broadcast_to(expected[term], (points,)) for term in equations}
        found = {term: composed.factor(term) for term in subject.layout.terms}
        wrong = difference(expected, found, relative=1e-12)
        assert not wrong, (
            f"beside point weights of one half the factor of the residuals is not that of halved residuals: {wrong}; "
            "take sizes of terms from the gradients and traces alone, which have the weights of points: residuals and "
            "losses of terms are without"
        )


COMPOSITION_LAWS = (composes_with_weights_of_points,)
"""The laws of this module."""


class _NoState(NamedTuple):
    """Nothing to remember."""


def _halved() -> WeightingScheme:
    def update(signals: Signals, state: _NoState) -> tuple[dict[str, Any], _NoState]:
        return {term: HALF * signals.namespace.ones_like(r) for term, r in signals[RESIDUALS].items()}, state

    return WeightingScheme(lambda signals: _NoState(), update, frozenset({RESIDUALS}))


def _scaled(terms: Mapping[str, Tree], factors: Mapping[str, float]) -> dict[str, Tree]:
    """Each term's values times the factor of the term."""
    return {
        term: map_leaves(functools.partial(operator.mul, factors.get(term, 1.0)), tree) for term, tree in terms.items()
    }
