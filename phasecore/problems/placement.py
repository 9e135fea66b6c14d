"""Where a condition's points are: on the boundary, inside, on a face, in whatever region the problem has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.conditions import BOUNDARY, INTERIOR, Condition, Data, Periodic
from phasecore.problems.domains.region import Region
from phasecore.problems.sampling import latin_hypercube

Floats = NDArray[np.float64]

MOST_ROUNDS = 200
"""Rounds of drawing after which a part of the boundary that is hardly ever met is given up."""


def points_of(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Draw the points of a condition within a region, shape (m, dimension).

    Args:
        condition: whose points.
        count: how many.
        region: of the problem.
        generator: source of randomness.

    Raises:
        InputError: for a region that the condition does not meet, a part of the boundary that is none, or a shape that
            draws points outside itself.

    Example:
        >>> from phasecore.problems.conditions import Prescribed
        >>> from phasecore.problems.domains.region import region_of
        >>> wall = Prescribed("wall", "boundary", {"u": 0.0})
        >>> points_of(wall, 5, region_of("mine", {"x": (0, 1), "t": (0, 9)}), np.random.default_rng(0))[:, 0].tolist()
        [1.0, 0.0, 0.0, 1.0, 0.0]
    """
    bounds = region.bounds
    if condition.place == BOUNDARY:
        return _on_boundary(condition, count, region, generator)
    if condition.place == INTERIOR:
        return region.inside(lambda wanted: latin_hypercube(wanted, bounds, generator), count)
    drawn = condition.sample(count, region.coordinates, bounds, generator)
    if region.is_box or condition.is_fixed or isinstance(condition, Data) or region.contains(drawn).all():
        return drawn
    if isinstance(condition, Periodic):
        pairs = np.stack(np.split(drawn, 2), axis=1)
        return np.concatenate(list(pairs[[region.contains(pair).all() for pair in pairs]].swapaxes(0, 1)))
    return region.inside(lambda wanted: condition.sample(wanted, region.coordinates, bounds, generator), count)


def _on_boundary(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Points on that part of the boundary that a condition names, shape (count, dimension)."""
    if condition.part is None:
        return region.boundary(count, generator)
    what = f"the part of the boundary of a condition in term {condition.term!r}"
    found: list[Floats] = []
    for _ in range(MOST_ROUNDS):
        drawn = region.boundary(max(count, 100), generator)
        chosen = np.asarray(condition.part(dict(zip(region.coordinates, drawn.T, strict=True))))
        if chosen.shape != (len(drawn),) or chosen.dtype != np.bool_:
            raise InputError(
                what,
                received=f"{chosen.dtype} of shape {chosen.shape}",
                expected=f"bools of shape ({len(drawn)},): whether each point is on it",
            )
        found.append(drawn[chosen])
        if sum(map(len, found)) >= count:
            return np.concatenate(found)[:count]
    raise InputError(
        what,
        received=f"true at {sum(map(len, found))} of {MOST_ROUNDS * len(drawn)} points of the whole boundary",
        expected="a function that is true on a part of it, not along a line",
        fix='Points of your own can be given in its place, or a face such as ("x", 1.0).',
    )
