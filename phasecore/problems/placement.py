"""Where a condition's points are: on the boundary, inside, on a face, in whatever region the problem has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.conditions import Condition, Periodic
from phasecore.problems.domains.region import SLACK, Region
from phasecore.problems.domains.shapes import Shape
from phasecore.problems.sampling import latin_hypercube
from phasecore.problems.where import BOUNDARY, INTERIOR, evaluated

Floats = NDArray[np.float64]

MOST_ROUNDS = 200
"""Rounds of drawing after which a part of the boundary that is hardly ever met is given up."""

PROBES = 4096
"""Places within the intervals of an integral at which these are looked at for leaving a shape, at most."""

ACROSS = 64
"""Values of a shape's other coordinates at which they are, where an integral is over some of a shape's only."""


def points_of(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Draw the points of a condition within a region, shape (m, dimension).

    Args:
        condition: whose points.
        count: how many.
        region: of the problem.
        generator: source of randomness.

    Raises:
        InputError: for a region that the condition does not meet, a part of the boundary that is none, a shape that
            draws points outside itself, or an integral over intervals that are inside in part only.

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
    if condition.intervals and not region.is_box:
        return _integrals(condition, count, region, generator)
    if isinstance(condition, Periodic) and not region.is_box:
        return _pairs(condition, count, region, generator)
    drawn = condition.sample(count, region.coordinates, bounds, generator)
    if region.is_box or condition.is_fixed or region.contains(drawn).all():
        return drawn
    return region.inside(
        lambda wanted: condition.sample(wanted, region.coordinates, bounds, generator),
        count,
        f"points of condition {condition.term!r}{_shared(drawn, region.coordinates)}",
    )


def _shared(drawn: Floats, coordinates: Sequence[str]) -> str:
    """What points have in common, such as the face that they are on, in words."""
    pairs = zip(coordinates, drawn.T, strict=True)
    shared = " and ".join(f"{name} = {values[0]:g}" for name, values in pairs if np.ptp(values) == 0)
    return f" where {shared}" if shared else ""


def _pairs(condition: Periodic, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Points on the lower face, then their partners on the upper, both inside: shape (2 * count, dimension)."""
    names, bounds = region.coordinates, region.bounds
    pairs = region.inside(
        lambda wanted: np.stack(np.split(condition.sample(wanted, names, bounds, generator), 2), axis=1),
        count,
        f"pairs of points of condition {condition.term!r} along {condition.coordinate!r}",
    )
    return np.concatenate([pairs[:, 0], pairs[:, 1]])


def _integrals(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """All nodes of integrals, at values of what is left at which their intervals are inside, shape (m, dimension)."""
    _check_intervals(condition, region)
    size, names, bounds = condition.group_size, region.coordinates, region.bounds
    nodes = region.inside(
        lambda wanted: condition.sample(wanted * size, names, bounds, generator).reshape(-1, size, len(names)),
        1 if len(condition.intervals) == len(names) else math.ceil(count / size),
        f"intervals of an integral in term {condition.term!r}",
    )
    return nodes.reshape(-1, len(names))


def _check_intervals(condition: Condition, region: Region) -> None:
    """Refuse intervals that leave a shape, at their ends and between nodes too."""
    for axes, part in region.parts:
        names = [region.coordinates[axis] for axis in axes]
        if not isinstance(part, Shape) or not set(names) & set(condition.intervals):
            continue
        places = _places(condition, names, part.bounds)
        slack = SLACK * float(np.diff(part.bounds, axis=0).max())
        inside = part.contains(places.reshape(-1, len(names)), slack).reshape(places.shape[:2])
        # beside the shape there is no integral, unless that is everywhere
        leaves = ~inside.all(axis=1) & (inside.any(axis=1) | (len(inside) == 1))
        if leaves.any():
            outside = zip(names, places[leaves][~inside[leaves]][0], strict=True)
            place = ", ".join(f"{name}={at:.6g}" for name, at in outside)
            raise InputError(
                f"intervals of an integral in term {condition.term!r}, over {', '.join(condition.intervals)}",
                received=f"some that leave the domain, such as at {place}",
                expected="intervals that are inside as wholes, wherever any part of them is",
                fix="Choose bounds that stay inside, or a ResidualCondition at points of your own, whose residual is "
                "one value of all of them, shape (1,).",
            )


def _places(condition: Condition, names: Sequence[str], bounds: Floats) -> Floats:
    """Places close together on an integral's intervals, at values of what is left: shape (values, places, dimension).

    Args:
        condition: one that integrates.
        names: of a shape's coordinates.
        bounds: of the shape, shape (2, dimension).
    """
    over = {names.index(name): given for name, given in condition.intervals.items() if name in names}
    left = latin_hypercube(1 if len(over) == len(names) else ACROSS, bounds, np.random.default_rng(0))
    each = int(PROBES ** (1 / max(len(over), 2)))
    lines = [np.linspace(low, high, each) for low, high in over.values()]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(over))
    places = np.repeat(left[:, None], len(grid), axis=1)
    places[:, :, list(over)] = grid
    return places


def _on_boundary(condition: Condition, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Points on that part of the boundary that a condition names, shape (count, dimension)."""
    if condition.part is None:
        return region.boundary(count, generator)
    what = f"the part of the boundary of a condition in term {condition.term!r}"
    found: list[Floats] = []
    for _ in range(MOST_ROUNDS):
        drawn = region.boundary(max(count, 100), generator)
        chosen = np.asarray(evaluated(what, condition.part, dict(zip(region.coordinates, drawn.T, strict=True))))
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
