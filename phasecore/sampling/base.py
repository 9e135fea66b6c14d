"""The contract of a sampling: where collocation points are drawn, and how they move while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.sampling import latin_hypercube

Floats = NDArray[np.float64]
Draw = Callable[[int, int, np.random.Generator], Floats]
"""From a number of points, a dimension and a source of randomness to points of the unit box, (count, dimension)."""

MOST_DRAWN = 2**24
"""Most points that are drawn to find enough inside a domain."""


def unit_latin_hypercube(count: int, dimension: int, generator: np.random.Generator) -> Floats:
    """Return a Latin hypercube sample of the unit box, shape (count, dimension), in random order.

    Example:
        >>> unit_latin_hypercube(3, 2, np.random.default_rng(0)).shape
        (3, 2)
    """
    return latin_hypercube(count, np.asarray([[0.0] * dimension, [1.0] * dimension]), generator)


class Region(NamedTuple):
    """Where points may lie: a box, or what of it lies inside something else.

    Attributes:
        bounds: lower, then upper bounds of each coordinate, shape (2, dimension).
        inside: from points (m, dimension) to whether each lies inside, shape (m,); None for the whole box.

    Example:
        >>> box = np.asarray([[-1.0, -1.0], [1.0, 1.0]])
        >>> disk = Region(box, inside=lambda points: np.square(points).sum(axis=1) < 1)
        >>> points = disk.fill(100, unit_latin_hypercube, np.random.default_rng(0))
        >>> points.shape, bool((np.square(points).sum(axis=1) < 1).all())
        ((100, 2), True)
    """

    bounds: Floats
    inside: Callable[[Floats], NDArray[np.bool_]] | None = None

    def fill(self, count: int, draw: Draw, generator: np.random.Generator) -> Floats:
        """Return `count` points inside, shape (count, dimension): the unit box's, mapped, those outside rejected.

        Where some are rejected, so many are drawn at once that enough lie inside, and the first of them are taken: so
        they stay those of one sequence.

        Raises:
            InputError: if hardly any point of the box lies inside.
        """
        low, high = self.bounds
        asked = count
        while True:
            points = np.asarray(low + draw(asked, len(low), generator) * (high - low), dtype=np.float64)
            if self.inside is None:
                return points
            points = np.asarray(points[np.asarray(self.inside(points), dtype=bool)])
            if len(points) >= count:
                return points[:count]
            if asked >= MOST_DRAWN:
                raise InputError(
                    "drawing points inside the domain",
                    received=f"{len(points)} inside among {asked} of its bounding box",
                    expected=f"{count} points",
                    fix="Take tighter bounds, or fewer points.",
                )
            share = max(len(points), 1) / asked
            asked = min(int(1.1 * count / share) + 10, MOST_DRAWN)


class Situation(NamedTuple):
    """What a move knows: the points, the network's residuals wherever it asks, and a way to draw others.

    Attributes:
        points: the collocation points now, shape (n, dimension), float64, in random order.
        residuals: from points inside the domain, shape (m, dimension), to {equation: residual, shape (m,)}, float64.
        draw: from a number to so many new points inside the domain, in random order, as the sampling draws them; those
            of one that draws the same each time are shifted where one would lie on another.
        generator: source of all that is random.
    """

    points: Floats
    residuals: Callable[[Floats], Mapping[str, Floats]]
    draw: Callable[[int], Floats]
    generator: np.random.Generator

    def sizes(self, points: Floats) -> Floats:
        """Return the size of the residual at points, shape (m,): of a system the root of the squares' sum.

        Those squares are what a point adds to the unweighted loss.

        Example:
            >>> two = lambda points: {"a": 3.0 * points[:, 0], "b": -4.0 * points[:, 0]}
            >>> here = Situation(np.ones((1, 1)), two, np.zeros, np.random.default_rng(0))
            >>> here.sizes(here.points).tolist()
            [5.0]
        """
        found = np.abs(np.stack(list(self.residuals(points).values())))
        largest = found.max(initial=0.0)
        # scaled, so that no square is too large or too small a number
        scaled = found / largest if largest > 0 else found
        return np.asarray(largest * np.sqrt(np.square(scaled).sum(axis=0)), dtype=np.float64)


Move = Callable[[Situation], Floats]
"""From a situation to the points that training goes on with, shape (n or more, dimension)."""


class Sampling(NamedTuple):
    """What a sampling factory returns; a pure function for the first points, and one for each move.

    Whatever is random comes from the generator that they are handed, which is made anew of the training's seed and the
    iteration: so the points at hand are the whole state of a sampling, and a resumed training moves as an
    uninterrupted one.

    Attributes:
        draw: points of the unit box, in random order: the batches of the SNR are contiguous blocks of them.
        move: where the points go, or None for points that stay. A point that stays keeps its weight, whatever its
            place. There are never fewer points than before.
        every: iterations between moves; None for points that stay.

    Example:
        >>> from phasecore.sampling import r3
        >>> r3(every=50).every
        50
    """

    draw: Draw = unit_latin_hypercube
    move: Move | None = None
    every: int | None = None
