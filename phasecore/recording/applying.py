"""Whether the weightings of a training, and those that policies may change to, suit its problem."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from phasecore import registry
from phasecore.policies.base import Policy
from phasecore.problems.base import Problem
from phasecore.problems.training_set import CollocationPoints
from phasecore.recording.acting import changes_of
from phasecore.signals import (
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    RESIDUALS,
    TERM_LOSSES,
    UNIT_COORDINATES,
    Signals,
    unit_coordinates,
)
from phasecore.weighting.base import WeightingScheme
from phasecore.weighting.checks import first_state


def check_changes_apply(policies: Mapping[str, Policy], problem: Problem, points: CollocationPoints) -> None:
    """Refuse, before the first iteration, policies that may change to such a scheme, see `check_apply`."""
    for schemes in changes(policies):
        check_apply(schemes, problem, points)


def check_apply(schemes: Mapping[str, WeightingScheme], problem: Problem, points: CollocationPoints) -> None:
    """Refuse a scheme that a problem has nothing for, such as a time, or a term of its name.

    Schemes that read gradients are left to the backend, which has them.

    Args:
        schemes: by name.
        problem: the problem.
        points: that it is trained on.

    Raises:
        InputError: of the scheme.
    """
    sizes: dict[str, int] = dict.fromkeys(problem.equations, len(points.interior))
    for condition, own in zip(problem.conditions, points.conditions, strict=True):
        sizes[condition.term] = sizes.get(condition.term, 0) + len(own)
    blank = {term: np.zeros(size) for term, size in sizes.items()}
    coordinates, domain = np.asarray(points.interior), np.asarray(problem.bounds)
    signals = Signals(
        {
            RESIDUALS: {term: blank[term] for term in problem.equations},
            CONDITION_RESIDUALS: {term: zeros for term, zeros in blank.items() if term not in problem.equations},
            TERM_LOSSES: {term: np.zeros(()) for term in sizes},
            COORDINATES: coordinates,
            DOMAIN: domain,
            UNIT_COORDINATES: unit_coordinates(coordinates, domain, problem.coordinates),
        },
        np,
    )
    for name, scheme in schemes.items():
        if scheme.requires <= signals.values.keys():
            first_state(name, scheme, signals)


def changes(policies: Mapping[str, Policy]) -> list[dict[str, WeightingScheme]]:
    """Return the weightings that policies may change to.

    Example:
        >>> [*changes({"mine": registry.policy("quasi_newton", weights="uniform")})[0]]
        ['uniform']
    """
    return [registry.as_schemes(item) for policy in policies.values() for item in changes_of(policy)]
