"""What a sampling declares and returns, checked where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phasecore.arguments import is_whole
from phasecore.errors import InputError, PluginError, called, described
from phasecore.sampling.base import Draw, Floats, Region, Sampling, Situation

PROBED = 8
"""Points by which it is seen whether a sampling draws the same ones each time."""

SLACK = 1e-6
"""What a point may lie beyond a bound, relative to the domain's extent: rounding in float32."""


def check_declaration(name: str, sampling: Sampling) -> None:
    """Refuse a sampling whose declarations are of a wrong kind.

    Raises:
        PluginError: naming sampling, attribute and what it is to be.

    Example:
        >>> check_declaration("latin_hypercube", Sampling())
    """
    moves = sampling.move is not None
    for attribute, holds, expected in (
        ("draw", callable(sampling.draw), "a function draw(count, dimension, generator)"),
        ("move", not moves or callable(sampling.move), "a function move(situation), or None"),
        ("every", is_whole(sampling.every) if moves else sampling.every is None, _EVERY[moves]),
    ):
        if not holds:
            raise PluginError(
                f"sampling {name!r}, {attribute}", received=repr(getattr(sampling, attribute)), expected=expected
            )


_EVERY = {True: "a positive integer: iterations between moves", False: "None, as nothing moves"}


def drawn(name: str, sampling: Sampling, count: int, region: Region, generator: np.random.Generator) -> Floats:
    """Return the points that a sampling draws inside a region, shape (count, dimension).

    Args:
        name: the sampling, as messages call it.
        sampling: the sampling.
        count: number of points.
        region: where.
        generator: source of all that is random.

    Raises:
        PluginError: if `draw` raises, or returns something else than points of the unit box.

    Example:
        >>> box = Region(np.asarray([[0.0, 0.0], [2.0, 1.0]]))
        >>> drawn("latin_hypercube", Sampling(), 5, box, np.random.default_rng(0)).shape
        (5, 2)
    """
    where = f"sampling {name!r}, draw(count, dimension, generator)"
    unit = Region(np.asarray([[0.0] * region.bounds.shape[1], [1.0] * region.bounds.shape[1]]))

    def draw(asked: int, dimension: int, source: np.random.Generator) -> Floats:
        return _checked(where, called(where, lambda: sampling.draw(asked, dimension, source)), asked, unit)

    return region.fill(count, draw, generator) if count else np.empty((0, region.bounds.shape[1]))


def drawing(
    name: str, sampling: Sampling, points: Floats, region: Region, generator: np.random.Generator, *, shifts: bool
) -> Callable[[int], Floats]:
    """Return what draws for a move, from a number to so many points.

    A sampling that draws the same points each time, such as a grid, draws them shifted where one would lie on another:
    all by one random vector, modulo the unit box. So the loss counts no point twice.

    Args:
        name: the sampling, as messages call it.
        sampling: the sampling.
        points: those that there are, shape (n, dimension).
        region: where.
        generator: source of all that is random.
        shifts: whether it draws the same points each time, see `repeats`.

    Example:
        >>> from phasecore.sampling import grid
        >>> box, generator = Region(np.asarray([[0.0], [1.0]])), np.random.default_rng(0)
        >>> draw = drawing("grid", grid(), np.asarray([[0.25]]), box, generator, shifts=True)
        >>> len({*draw(2)[:, 0].tolist(), *draw(2)[:, 0].tolist(), 0.25})
        5
    """
    if not shifts:
        return lambda count: drawn(name, sampling, count, region, generator)
    taken = set(map(tuple, points.tolist()))

    def draw(count: int) -> Floats:
        found = drawn(name, sampling, count, region, generator)
        if not taken.isdisjoint(map(tuple, found.tolist())):
            shift = generator.uniform(size=(1, found.shape[1]))
            found = drawn(name, sampling._replace(draw=_shifted(sampling.draw, shift)), count, region, generator)
        taken.update(map(tuple, found.tolist()))
        return found

    return draw


def repeats(sampling: Sampling, dimension: int) -> bool:
    """Return whether a sampling draws the same points, in whatever order, from other random numbers."""
    try:
        one, other = (sampling.draw(PROBED, dimension, np.random.default_rng(seed)) for seed in (0, 1))
        return np.array_equal(np.unique(one, axis=0), np.unique(other, axis=0))
    except Exception:  # `drawn` says what is wrong with it
        return False


def _shifted(draw: Draw, shift: Floats) -> Draw:
    def shifted(count: int, dimension: int, generator: np.random.Generator) -> Floats:
        return np.asarray((draw(count, dimension, generator) + shift) % 1.0, dtype=np.float64)

    return shifted


def check_seed(seed: object, of: str) -> None:
    """Refuse a seed that is no whole number of at least zero.

    Args:
        seed: any.
        of: what it is of, as messages call it.

    Raises:
        InputError: so.

    Example:
        >>> check_seed(-1, "the moves")
        Traceback (most recent call last):
        ...
        phasecore.errors.InputError: seed of the moves: received -1; expected a whole number, 0 or more.
    """
    if not is_whole(seed, least=0):
        raise InputError(f"seed of {of}", received=repr(seed), expected="a whole number, 0 or more")


def moved(name: str, sampling: Sampling, situation: Situation, region: Region) -> Floats:
    """Return where a sampling moves the points.

    Args:
        name: the sampling, as messages call it.
        sampling: one that moves.
        situation: what the move knows.
        region: where points may lie.

    Raises:
        PluginError: if `move` raises, or returns fewer points than there were, others than float64, of a wrong shape,
            or outside the region.
    """
    where = f"sampling {name!r}, move(situation)"
    assert sampling.move is not None
    move = sampling.move
    return _checked(where, called(where, lambda: move(situation)), len(situation.points), region, grows=True)


def _checked(where: str, points: Any, count: int, region: Region, *, grows: bool = False) -> Floats:
    dimension = region.bounds.shape[1]
    expected = f"a float64 array of shape ({count}{' or more' if grows else ''}, {dimension})"
    if not isinstance(points, np.ndarray) or points.dtype != np.float64:
        dtype = f", {points.dtype}" if isinstance(points, np.ndarray) else ""
        raise PluginError(where, received=described(points) + dtype, expected=expected)
    if points.ndim != 2 or points.shape[1] != dimension or not (grows or len(points) == count) or len(points) < count:
        raise PluginError(where, received=f"shape {points.shape}", expected=expected)
    low, high = region.bounds
    slack = SLACK * (high - low)
    inside = ((points >= low - slack) & (points <= high + slack)).all(axis=1)
    if inside.all() and region.inside is not None:
        inside = np.asarray(region.inside(points), dtype=bool)
    if not inside.all():
        raise PluginError(
            where,
            received=f"{int((~inside).sum())} points outside, the first {points[~inside][0].tolist()}",
            expected=f"points inside the domain, between {low.tolist()} and {high.tolist()}",
        )
    return points
