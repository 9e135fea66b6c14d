"""Shapes in the plane, in space and beyond: what is inside, points on the boundary, and the normals there."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.errors import InputError, described

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ESTIMATED_FROM = 20_000
"""Points from which measures that are not known are estimated."""

ROUNDING = 8
"""Units in the last place of a coordinate within which two places are one: distances are sums of several roundings."""

MOST_ROUNDS = 1000
"""Rounds of drawing after which a boundary that is hardly ever met is given up."""


class Shape(ABC):
    """A bounded region. Shapes are joined, cut and intersected with `|`, `-` and `&`.

    A shape of one's own derives from it, or has these attributes without deriving. It is probed once, and what it does
    not know raises `NotImplementedError`.

    Attributes:
        bounds: of a box around it, shape (2, dimension), lower ones first.
        boundary_measure: length of the boundary, or its area; infinity where it is not known.

    Example:
        >>> plate = Box((0, 0), (2, 1)) - Disk((1, 0.5), 0.25)
        >>> plate.contains(np.asarray([[0.5, 0.5], [1.0, 0.5]])).tolist()
        [True, False]
    """

    @property
    @abstractmethod
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, dimension)."""

    @property
    @abstractmethod
    def boundary_measure(self) -> float:
        """Length of the boundary in the plane, its area in space."""

    @abstractmethod
    def distance(self, points: Floats) -> Floats:
        """Return how far points of shape (n, dimension) are from the boundary, negative inside, shape (n,).

        Of what is made of several shapes it is a lower bound, exact as to the sign.
        """

    @abstractmethod
    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the boundary, evenly by its measure, in random order, shape (count, dimension)."""

    @abstractmethod
    def normals(self, points: Floats) -> Floats:
        """Return the outward unit normals at points on the boundary, shape (n, dimension)."""

    @functools.cached_property
    def content(self) -> float:
        """Its area in the plane, its volume in space: estimated by points in its bounds where it is not known."""
        low, high = self.bounds
        drawn = np.random.default_rng(0).uniform(low, high, size=(ESTIMATED_FROM, len(low)))
        return float(self.contains(drawn).mean() * np.prod(high - low))

    def contains(self, points: Floats, tolerance: float = 0.0) -> Bools:
        """Return which points of shape (n, dimension) are inside or on the boundary, shape (n,)."""
        found: Bools = self.distance(points) <= tolerance
        return found

    def __or__(self, other: Any) -> Shape:
        return Combined(self, _operand(other), "or")

    def __and__(self, other: Any) -> Shape:
        return Combined(self, _operand(other), "and")

    def __sub__(self, other: Any) -> Shape:
        return Combined(self, _operand(other), "without")


@final
class Box(Shape):
    """A box with sides along the axes, in any dimension.

    Args:
        low: lower bounds, shape (dimension,).
        high: upper bounds, shape (dimension,).

    Raises:
        InputError: for bounds that do not ascend.

    Example:
        >>> Box((0, 0), (2, 1)).boundary_measure
        6.0
    """

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        self._bounds = np.stack(_vectors("bounds of a box", low, high))
        if not (self._bounds[0] < self._bounds[1]).all():
            raise InputError("bounds of a box", received=f"{low!r} and {high!r}", expected="the lower first")

    @property
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, dimension)."""
        return self._bounds

    @property
    def boundary_measure(self) -> float:
        """The area of all faces."""
        return float(2 * self._faces().sum())

    @functools.cached_property
    def content(self) -> float:
        """The area of a rectangle, the volume of a box."""
        return float(np.prod(np.diff(self._bounds, axis=0)))

    def distance(self, points: Floats) -> Floats:
        """Return the distance from the boundary, negative inside, shape (n,)."""
        middle, half = self._bounds.mean(axis=0), np.diff(self._bounds, axis=0)[0] / 2
        beyond = np.abs(points - middle) - half
        outside = np.sqrt(np.square(np.maximum(beyond, 0.0)).sum(axis=1))
        return np.asarray(outside + np.minimum(beyond.max(axis=1), 0.0))

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the faces, shape (count, dimension)."""
        faces = self._faces()
        axes = generator.choice(len(faces), size=count, p=faces / faces.sum())
        low, high = self._bounds
        points: Floats = generator.uniform(low, high, size=(count, len(faces)))
        points[np.arange(count), axes] = self._bounds[generator.integers(0, 2, size=count), axes]
        return points

    def normals(self, points: Floats) -> Floats:
        """Return the normal of the face that is nearest, shape (n, dimension)."""
        low, high = self._bounds
        gaps = np.stack([np.abs(points - low), np.abs(points - high)])
        axes = gaps.min(axis=0).argmin(axis=1)
        rows = np.arange(len(points))
        normals = np.zeros_like(points)
        normals[rows, axes] = np.where(gaps[1, rows, axes] <= gaps[0, rows, axes], 1.0, -1.0)
        return normals

    def _faces(self) -> Floats:
        sides = np.diff(self._bounds, axis=0)[0]
        return np.asarray([np.prod(np.delete(sides, axis)) for axis in range(len(sides))])


@final
class Ball(Shape):
    """A ball in any dimension from two on; in the plane a disk.

    Args:
        centre: shape (dimension,).
        radius: positive.

    Raises:
        InputError: for a radius that is not positive, or fewer than two coordinates.
    """

    def __init__(self, centre: ArrayLike, radius: float) -> None:
        (self._centre,) = _vectors("centre of a ball", centre)
        if not 0 < radius < math.inf:
            raise InputError("radius of a ball", received=repr(radius), expected="a positive number")
        self._radius = float(radius)

    @property
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, dimension)."""
        return np.stack([self._centre - self._radius, self._centre + self._radius])

    @property
    def boundary_measure(self) -> float:
        """The circumference, or the area of the sphere."""
        dimension = len(self._centre)
        return float(2 * math.pi ** (dimension / 2) / math.gamma(dimension / 2) * self._radius ** (dimension - 1))

    @functools.cached_property
    def content(self) -> float:
        """The area of a disk, the volume of a ball."""
        return self.boundary_measure * self._radius / len(self._centre)

    def distance(self, points: Floats) -> Floats:
        """Return the distance from the sphere, negative inside, shape (n,)."""
        return np.asarray(np.sqrt(np.square(points - self._centre).sum(axis=1)) - self._radius)

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the sphere, shape (count, dimension)."""
        return self._centre + self._radius * unit(generator.standard_normal((count, len(self._centre))))

    def normals(self, points: Floats) -> Floats:
        """Return the directions away from the centre, shape (n, dimension)."""
        return unit(points - self._centre)


def Disk(centre: ArrayLike, radius: float) -> Ball:  # noqa: N802
    """Return a disk in the plane.

    Args:
        centre: shape (2,).
        radius: positive.

    Raises:
        InputError: for a centre of another shape, or a radius that is not positive.

    Example:
        >>> Disk((0, 0), 2).bounds.tolist()
        [[-2.0, -2.0], [2.0, 2.0]]
    """
    if np.shape(centre) != (2,):
        raise InputError("centre of a disk", received=repr(centre), expected="two numbers")
    return Ball(centre, radius)


@final
class Combined(Shape):
    """Two shapes joined ("or"), intersected ("and"), or the first without the second ("without")."""

    def __init__(self, first: Shape, second: Shape, how: str) -> None:
        if first.bounds.shape != second.bounds.shape:
            raise InputError(
                "shapes put together",
                received=f"{first.bounds.shape[1]} and {second.bounds.shape[1]} coordinates",
                expected="the same number",
            )
        self._first, self._second, self._how = first, second, how

    @property
    def bounds(self) -> Floats:
        """Lower and upper bounds of a box around it, shape (2, dimension)."""
        (low, high), (other_low, other_high) = self._first.bounds, self._second.bounds
        if self._how == "or":
            return np.stack([np.minimum(low, other_low), np.maximum(high, other_high)])
        return (
            np.stack([np.maximum(low, other_low), np.minimum(high, other_high)])
            if self._how == "and"
            else (self._first.bounds)
        )

    @functools.cached_property
    def boundary_measure(self) -> float:
        """What is left of the boundaries of its parts, to a percent or so: by the share of points drawn on them."""
        drawn = self._drawn(ESTIMATED_FROM, np.random.default_rng(0))
        kept = float(self._on_boundary(drawn).sum()) / ESTIMATED_FROM
        return kept * sum(leaf.boundary_measure for leaf in self.leaves())

    def leaves(self) -> list[Shape]:
        """Return the shapes that it is made of, none of them made of others."""
        return [
            leaf
            for part in (self._first, self._second)
            for leaf in (part.leaves() if isinstance(part, Combined) else [part])
        ]

    @functools.cached_property
    def _thinnest(self) -> float:
        """The least extent of the shapes that it is made of, along any axis: the smallest that is sure to matter."""
        return float(min(np.diff(leaf.bounds, axis=0).min() for leaf in self.leaves()))

    @functools.cached_property
    def _resolution(self) -> Floats:
        """What float64 resolves at these coordinates, along each axis, shape (dimension,)."""
        largest = np.max([np.abs(leaf.bounds).max(axis=0) for leaf in self.leaves()], axis=0)
        return np.asarray(ROUNDING * np.spacing(largest))

    def distance(self, points: Floats) -> Floats:
        """Return a lower bound of the distance from the boundary, negative inside, shape (n,)."""
        one, other = self._first.distance(points), self._second.distance(points)
        if self._how == "or":
            return np.minimum(one, other)
        return np.maximum(one, other if self._how == "and" else -other)

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on what is left of its parts' boundaries, shape (count, dimension)."""
        found: list[Floats] = []
        for _ in range(MOST_ROUNDS):
            drawn = self._drawn(count, generator)
            found.append(drawn[self._on_boundary(drawn)])
            if sum(map(len, found)) >= count:
                return np.concatenate(found)[:count]
        raise InputError(
            "the boundary of a shape", received="none of its points met", expected="a region that is not empty"
        )

    def normals(self, points: Floats) -> Floats:
        """Return the normals of that shape whose boundary is nearer, shape (n, dimension)."""
        nearer = np.abs(self._first.distance(points)) <= np.abs(self._second.distance(points))
        sign = -1.0 if self._how == "without" else 1.0
        return np.where(nearer[:, None], self._first.normals(points), sign * self._second.normals(points))

    def _drawn(self, count: int, generator: np.random.Generator) -> Floats:
        """Points on the boundaries of all that it is made of, evenly by their measures, in random order."""
        leaves = self.leaves()
        measures = np.asarray([leaf.boundary_measure for leaf in leaves])
        shares = measures / measures.sum() if np.isfinite(measures).all() else np.full(len(leaves), 1 / len(leaves))
        counts = generator.multinomial(count, shares)
        drawn: list[Floats] = []
        for place, own in enumerate(counts):
            points = leaves[place].sample_boundary(int(own), generator) if own else np.empty((0, self.bounds.shape[1]))
            for earlier in leaves[:place]:
                # a side of two of them would have twice as many points
                apart = np.maximum(1e-9 * self._thinnest, self._resolution.max())
                points = points[np.abs(earlier.distance(points)) > apart]
            drawn.append(points)
        return generator.permutation(np.concatenate(drawn))

    def _on_boundary(self, points: Floats) -> Bools:
        """Which points have the inside on one side only: a side that two parts share is inside of what they make."""
        normals = self.normals(points)
        step = 1e-7 * self._thinnest * normals + self._resolution * np.sign(normals)
        found: Bools = (self.distance(points + step) > 0) & (self.distance(points - step) < 0)
        return found


def _operand(given: Any) -> Shape:
    if not isinstance(given, Shape):
        raise InputError(
            "shapes put together",
            received=described(given),
            expected="a shape of phasecore's",
            fix="Put shapes of another package together by its own means, or draw this one with Polygon, Box or Disk.",
        )
    return given


def _vectors(what: str, *given: ArrayLike) -> list[Floats]:
    try:
        vectors = [np.asarray(vector, dtype=np.float64) for vector in given]
    except (TypeError, ValueError):
        vectors = []
    shapes = {vector.shape for vector in vectors}
    if len(shapes) != 1 or any(vector.ndim != 1 or not np.isfinite(vector).all() for vector in vectors):
        raise InputError(what, received=" and ".join(map(repr, given)), expected="finite numbers, one per coordinate")
    if vectors[0].size < 2:
        raise InputError(what, received="one coordinate", expected="two or more; an interval is a pair of bounds")
    return vectors


def unit(vectors: Floats) -> Floats:
    """Return vectors of shape (n, dimension) with length one; zeros stay zeros."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return vectors / np.where(lengths > 0, lengths, 1.0)
