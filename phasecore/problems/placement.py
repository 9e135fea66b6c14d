"""Where a condition's points are: on the boundary, inside, on a face, in whatever region the problem has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasecore.problems.conditions import BOUNDARY, INTERIOR, Condition, Data, Periodic
from phasecore.problems.domains.region import Region
from phasecore.problems.sampling import latin_hypercube

Floats = NDArray[np.float64]


def points_of(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Draw the points of a condition within a region, shape (m, dimension).

    Args:
        condition: whose points.
        count: how many.
        region: of the problem.
        generator: source of randomness.

    Raises:
        InputError: for a region that the condition does not meet, or a shape that draws points outside itself.

    Example:
        >>> from phasecore.problems.conditions import Prescribed
        >>> from phasecore.problems.domains.region import region_of
        >>> wall = Prescribed("wall", "boundary", {"u": 0.0})
        >>> points_of(wall, 5, region_of("mine", {"x": (0, 1), "t": (0, 9)}), np.random.default_rng(0))[:, 0].tolist()
        [1.0, 0.0, 0.0, 1.0, 0.0]
    """
    bounds = region.bounds
    if condition.place == BOUNDARY:
        return region.boundary(count, generator)
    if condition.place == INTERIOR:
        return region.inside(lambda wanted: latin_hypercube(wanted, bounds, generator), count)
    drawn = condition.sample(count, region.coordinates, bounds, generator)
    if region.is_box or condition.is_fixed or isinstance(condition, Data) or region.contains(drawn).all():
        return drawn
    if isinstance(condition, Periodic):
        pairs = np.stack(np.split(drawn, 2), axis=1)
        return np.concatenate(list(pairs[[region.contains(pair).all() for pair in pairs]].swapaxes(0, 1)))
    return region.inside(lambda wanted: condition.sample(wanted, region.coordinates, bounds, generator), count)
