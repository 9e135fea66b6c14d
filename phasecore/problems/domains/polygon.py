"""Polygons in the plane: one or several, with holes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from phasecore.errors import InputError
from phasecore.problems.domains.rings import check_rings
from phasecore.problems.domains.shapes import Floats, Shape, unit

AT_ONCE = 1_000_000
"""Pairs of a point and a side that are looked at together: a coast has thousands of sides."""


@final
class Polygon(Shape):
    """A polygon in the plane, with holes.

    Args:
        vertices: shape (n, 2), in order, either way round; the last is joined to the first.
        holes: vertices of each hole, likewise.

    Raises:
        InputError: for fewer than three vertices, or others than of two coordinates; for sides that cross or lie on
            each other, and holes that are not inside or are inside another. Rings may touch at points.

    Example:
        >>> ell = Polygon([(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)])
        >>> ell.contains(np.asarray([[-0.5, 0.5], [0.5, 0.5]])).tolist(), ell.boundary_measure
        ([True, False], 8.0)
    """

    def __init__(self, vertices: ArrayLike, holes: Sequence[ArrayLike] = ()) -> None:
        rings = _rings(vertices, holes)
        check_rings(rings)
        self._keep(rings)

    @classmethod
    def of_valid(cls, vertices: ArrayLike, holes: Sequence[ArrayLike] = ()) -> Polygon:
        """Return a polygon whose rings are known not to cross, as shapely has found."""
        made = cls.__new__(cls)
        made._keep(_rings(vertices, holes))
        return made

    @classmethod
    def of_parts(cls, parts: Sequence[Polygon]) -> Polygon:
        """Return polygons that do not overlap as one, its boundary exactly theirs.

        Args:
            parts: at least one.

        Example:
            >>> Polygon.of_parts([Polygon([(0, 0), (1, 0), (0, 1)]), Polygon([(2, 0), (3, 0), (3, 1)])]).bounds.tolist()
            [[0.0, 0.0], [3.0, 1.0]]
        """
        made = cls.__new__(cls)
        made._keep([ring for part in parts for ring in part._rings])
        return made

    def _keep(self, rings: list[Floats]) -> None:
        """Hold the rings, those outside anticlockwise, holes clockwise."""
        self._rings = rings
        self._starts = np.concatenate(rings)
        self._ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        self._sides = self._ends - self._starts
        self._lengths = np.sqrt(np.square(self._sides).sum(axis=1))

    @property
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, 2)."""
        return np.stack([self._starts.min(axis=0), self._starts.max(axis=0)])

    @property
    def boundary_measure(self) -> float:
        """The length of all sides."""
        return float(self._lengths.sum())

    @functools.cached_property
    def content(self) -> float:
        """The area, without that of the holes."""
        return float(sum(_area(ring) for ring in self._rings))

    def distance(self, points: Floats) -> Floats:
        """Return the distance from the nearest side, negative inside, shape (n,)."""
        (x1, y1), (dx, dy), y2 = self._starts.T, self._sides.T, self._ends[:, 1]
        found = np.empty(len(points))
        for block in self._blocks(len(points)):
            nearest = np.sqrt(self._squares(points[block]).min(axis=1))
            x, y = points[block].T[:, :, None]
            # with the vertices themselves, which two sides share: what is added up to them need not be the same
            crosses = (y1 > y) != (y2 > y)
            with np.errstate(all="ignore"):
                crossings = (crosses & (x < x1 + dx * (y - y1) / dy)).sum(axis=1)
            found[block] = np.where(crossings % 2 == 1, -nearest, nearest)
        return found

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the sides, shape (count, 2)."""
        chosen = generator.choice(len(self._lengths), size=count, p=self._lengths / self._lengths.sum())
        shares: Floats = generator.uniform(size=(count, 1))
        return np.asarray(self._starts[chosen] + shares * self._sides[chosen])

    def normals(self, points: Floats) -> Floats:
        """Return the normal of the side that is nearest, shape (n, 2)."""
        nearest = [self._squares(points[block]).argmin(axis=1) for block in self._blocks(len(points))]
        sides = self._sides[np.concatenate(nearest)] if nearest else np.empty((0, 2))
        return unit(np.stack([sides[:, 1], -sides[:, 0]], axis=1))

    def _blocks(self, count: int) -> Iterator[slice]:
        size = max(1, AT_ONCE // len(self._starts))
        return (slice(start, start + size) for start in range(0, count, size))

    def _squares(self, points: Floats) -> Floats:
        """Squared distances from the sides, shape (n, sides)."""
        ahead = points[:, None] - self._starts
        share = np.clip((ahead * self._sides).sum(axis=2) / np.square(self._lengths), 0.0, 1.0)
        return np.asarray(np.square(ahead - share[:, :, None] * self._sides).sum(axis=2))


def _rings(vertices: ArrayLike, holes: Sequence[ArrayLike]) -> list[Floats]:
    """The outside anticlockwise, then the holes clockwise."""
    return [_ring(vertices), *(_ring(hole)[::-1] for hole in holes)]


def _ring(vertices: ArrayLike) -> Floats:
    """The vertices anticlockwise, each once."""
    try:
        ring = np.asarray(vertices, dtype=np.float64)
    except (TypeError, ValueError):
        ring = np.empty(0)
    if ring.ndim == 2 and ring.shape[1] == 2:
        ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3:
        raise InputError(
            "vertices of a polygon", received=f"shape {np.shape(ring)}", expected="shape (n, 2), n at least 3"
        )
    if not np.isfinite(ring).all():
        raise InputError("vertices of a polygon", received="values that are not finite", expected="finite numbers")
    area = _area(ring)
    if area == 0.0:
        raise InputError("vertices of a polygon", received="no area between them", expected="a polygon")
    return ring if area > 0 else ring[::-1]


def _area(ring: Floats) -> float:
    """The area inside, negative where the vertices go clockwise."""
    # from one of them, since far from the origin the products would round the area away
    (x, y), (next_x, next_y) = (ring - ring[0]).T, (np.roll(ring, -1, axis=0) - ring[0]).T
    return float((x * next_y - next_x * y).sum()) / 2
