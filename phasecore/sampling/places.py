"""Where the points of a training come from in a move: what weights and states are kept by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.problems.base import CollocationPoints, Floats, Problem
from phasecore.problems.condition_rehearsal import condition_rehearsed
from phasecore.problems.conditions import Condition


class Places(NamedTuple):
    """Where the points of a term come from in a move.

    Attributes:
        nearest: the place of the nearest point before, shape (n,).
        stayed: whether that is the same point, shape (n,).
    """

    nearest: NDArray[np.int64]
    stayed: NDArray[np.bool_]


def places_of(points: ArrayLike, before: ArrayLike, bounds: ArrayLike) -> Places:
    """Return for each point its nearest one before the move, distances relative to the domain's extents.

    Args:
        points: after the move, shape (n, dimension).
        before: before it, shape (m, dimension).
        bounds: lower and upper bounds, shape (2, dimension).

    Example:
        >>> places_of([[0.0], [0.9], [0.3]], [[1.0], [0.0]], [[0.0], [1.0]])
        Places(nearest=array([1, 0, 1]), stayed=array([ True, False, False]))
    """
    new, old = np.asarray(points, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if new.shape == old.shape and (unmoved := _same(new, old)).any():
        # points that stay in their places need no search, and two points in one place keep their own states
        nearest, stayed = np.arange(len(new)), unmoved.copy()
        nearest[~unmoved], stayed[~unmoved] = _search(new[~unmoved], old, bounds)
        return Places(nearest, stayed)
    return Places(*_search(new, old, bounds))


def have_moved(places: Mapping[str, Places | None]) -> bool:
    """Return whether any point of some terms is not what it was in its place, as far as can be told.

    Args:
        places: where the points of each term come from, see `places_of_terms`.

    Example:
        >>> box = [[0.0], [1.0]]
        >>> have_moved({"pde": places_of([[0.5], [0.9]], [[0.5], [0.9]], box)}), have_moved({"initial": None})
        (False, True)
        >>> have_moved({"pde": places_of([[0.9], [0.5]], [[0.5], [0.9]], box)})
        True
    """
    return any(
        own is None or not (own.stayed.all() and np.array_equal(own.nearest, np.arange(len(own.nearest))))
        for own in places.values()
    )


def _search(new: Floats, old: Floats, bounds: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    from scipy.spatial import cKDTree

    low, high = np.asarray(bounds, dtype=np.float64)
    extents = np.where(high > low, high - low, 1.0)
    if not len(new):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=bool)
    nearest = np.asarray(cKDTree(old / extents).query(new / extents)[1], dtype=np.int64)
    return nearest, _same(new, old[nearest])


def _same(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Whether points are the same, to single precision: a user may have them from a network's arrays."""
    return np.asarray((one.astype(np.float32) == other.astype(np.float32)).all(axis=1))


def places_of_terms(
    problem: Problem,
    points: CollocationPoints,
    before: CollocationPoints,
    sizes: Mapping[str, int],
    sizes_before: Mapping[str, int],
) -> dict[str, Places | None]:
    """Return where the residuals of each term come from, for the terms whose points moved; conditions among them.

    None for a condition whose residuals cannot be told by its points: they are neither as many nor a multiple.

    Args:
        problem: whose terms.
        points: after the move.
        before: before it.
        sizes: number of residuals of each term after it.
        sizes_before: and before it.

    Example:
        >>> from phasecore.problems.burgers import Burgers
        >>> problem = Burgers()
        >>> before, other = problem.sample(5, seed=0), problem.sample(5, seed=1)
        >>> moved = CollocationPoints(other.interior, before.conditions)
        >>> sorted(places_of_terms(problem, moved, before, {"pde": 5}, {"pde": 5}))
        ['pde']
    """
    found: dict[str, Places | None] = {}
    if not np.array_equal(points.interior, before.interior):
        places = places_of(points.interior, before.interior, problem.bounds)
        found |= dict.fromkeys(problem.equations, places)
    terms: dict[str, list[tuple[Condition, Floats, Floats]]] = {}
    for condition, new, old in zip(problem.conditions, points.conditions, before.conditions, strict=True):
        terms.setdefault(condition.term, []).append((condition, new, old))
    for term, of_term in terms.items():
        pairs = [(new, old) for _, new, old in of_term]
        if not all(np.array_equal(new, old) for new, old in pairs):
            blocks = [_blocks(problem, condition, new) for condition, new, _ in of_term]
            found[term] = _places_of_condition(pairs, blocks, sizes[term], sizes_before[term], problem.bounds)
    return found


def _blocks(problem: Problem, condition: Condition, points: Floats) -> int | None:
    """How many residuals a condition has of each point, None where that cannot be told."""
    try:
        count, rest = divmod(len(condition_rehearsed(problem, condition, points)), len(points))
    except Exception:  # one that needs a framework
        return None
    return None if rest else count


def _places_of_condition(
    pairs: list[tuple[Floats, Floats]], blocks: list[int | None], size: int, size_before: int, bounds: Floats
) -> Places | None:
    """Of the conditions of a term, each with its points after and before, and its residuals a block of each partial."""
    counts = [len(new) for new, _ in pairs], [len(old) for _, old in pairs]
    if len(pairs) == 1 and blocks[0] is None:
        blocks = [size // counts[0][0]]
    known = [count for count in blocks if count is not None]
    if len(known) < len(pairs) or [np.dot(known, own) for own in counts] != [size, size_before]:
        return None
    nearest, stayed, start = [], [], 0
    for (new, old), repeats in zip(pairs, known, strict=True):
        own = places_of(new, old, bounds)
        for _ in range(repeats):
            nearest.append(own.nearest + start)
            stayed.append(own.stayed)
            start += len(old)
    return Places(np.concatenate(nearest), np.concatenate(stayed))
