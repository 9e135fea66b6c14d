"""Shapes of one's own, probed once: whether inside, boundary and normals belong together."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.domains.foreign import OfDeepXDE, OfOnesOwn
from phasecore.problems.domains.polygon import Polygon
from phasecore.problems.domains.shapes import Ball, Box, Combined, Shape

Floats = NDArray[np.float64]

PROBES = 64
STEP = 1e-4
"""How far beside its boundary a shape is probed, relative to its least extent."""

SOUND = 0.9
"""Share of the probes that is to be right: near a corner, or in a narrow place, one may step across."""

UNIT = 1e-3
"""How far from one a normal's length may be, as of an approximate shape."""

_KNOWN = frozenset({Box, Ball, Polygon, OfDeepXDE})
MOST_KEPT = 100
"""Sound shapes that are remembered, so that each is probed once."""

_sound: dict[int, Any] = {}


def check_shape(what: str, shape: Shape) -> None:
    """Probe a shape, or those that it is made of, unless it is phasecore's or was found to be sound before.

    Args:
        what: the shape, for messages.
        shape: of any kind.

    Raises:
        InputError: for arrays of a wrong shape, bounds that do not ascend or are not around the boundary, a distance
            that is the same everywhere or positive inside, points that are not on the boundary, and normals that are
            no unit vectors or point inwards.
    """
    leaves = shape.leaves() if isinstance(shape, Combined) else [shape]
    for leaf in leaves:
        given = leaf.given if isinstance(leaf, OfOnesOwn) else leaf
        if type(leaf) in _KNOWN or _sound.get(id(given)) is given:
            continue
        try:
            _probe(what, leaf)
        except NotImplementedError:
            # says itself what it does not know, where that is asked for
            continue
        if len(_sound) >= MOST_KEPT:
            _sound.clear()
        _sound[id(given)] = given


def checked(found: Any, shape: tuple[int, ...], what: str) -> Floats:
    """Return what a shape returned as float64.

    Raises:
        InputError: for another shape, or values that are not finite.
    """
    values = np.asarray(found, dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        received = f"shape {values.shape}" if values.shape != shape else "values that are not finite"
        raise InputError(f"domain: {what}", received=received, expected=f"finite numbers of shape {shape}")
    return values


def _probe(what: str, shape: Shape) -> None:
    low, high = shape.bounds
    if not (low < high).all():
        _refuse(what, "bounds", f"{low.tolist()} and {high.tolist()}", "the lower of each coordinate, then the upper")
    beside, dimension = STEP * float((high - low).min()), len(low)
    points = checked(
        shape.sample_boundary(PROBES, np.random.default_rng(0)), (PROBES, dimension), "points on its boundary"
    )
    normals = checked(shape.normals(points), points.shape, "normals")
    probes = np.concatenate([points + beside * normals, points - beside * normals])
    distances = np.asarray(shape.distance(probes), dtype=np.float64)
    if distances.shape == (2 * PROBES,):
        # beyond its bounds a shape is not asked for any
        distances = np.where(np.isnan(distances) & ((probes < low) | (probes > high)).any(axis=1), beside, distances)
    distances = checked(distances, (2 * PROBES,), "distance")
    _check_distances(what, points, normals, *np.split(distances, 2))
    beyond = ((points < low - beside) | (points > high + beside)).any(axis=1)
    if beyond.any():
        _refuse(
            what, "bounds", f"{low.tolist()} and {high.tolist()}, with {points[beyond][0].tolist()} on the boundary",
            "a box around the whole shape",
        )  # fmt: skip


def _check_distances(what: str, points: Floats, normals: Floats, outside: Floats, inside: Floats) -> None:
    """Check distances a step along the normals from points on the boundary, and a step back, shape (n,) each."""
    lengths = np.sqrt(np.square(normals).sum(axis=1))
    if (np.abs(lengths - 1) < UNIT).mean() < SOUND:
        worst = int(np.abs(lengths - 1).argmax())
        _refuse(what, "normals", f"length {lengths[worst]:.4g} at {points[worst].tolist()}", "unit vectors")
    right = (outside > 0) & (inside < 0)
    if right.mean() >= SOUND:
        return
    if np.ptp(np.concatenate([outside, inside])) == 0:
        _refuse(what, "distance", f"{outside[0]:g} everywhere", "negative numbers inside, positive ones outside")
    if ((outside <= 0) & (inside >= 0)).mean() >= SOUND:
        # where it ends along an axis, outwards is known
        ends = [(points[:, axis].argmin(), axis, -1) for axis in range(points.shape[1])]
        ends += [(points[:, axis].argmax(), axis, 1) for axis in range(points.shape[1])]
        outwards = sum(sign * normals[row, axis] for row, axis, sign in ends) > 0
        if outwards:
            _refuse(what, "distance", "one that is not negative inside", "negative inside, positive outside")
        _refuse(what, "normals", "some that point inwards", "the outward ones")
    row = int(np.flatnonzero(~right)[0])
    _refuse(
        what, "points on its boundary",
        f"{int((~right).sum())} of {len(points)} beside which its distance does not change its sign, "
        f"the first {points[row].tolist()}: {inside[row]:.4g} on the inner side of it, {outside[row]:.4g} on the outer",
        "points between those inside, of negative distance, and those outside, of positive distance",
    )  # fmt: skip


def _refuse(what: str, of: str, received: str, expected: str) -> NoReturn:
    raise InputError(
        f"{what}: {of}", received=received, expected=expected, fix="phasecore.problems.Shape says what each returns."
    )
