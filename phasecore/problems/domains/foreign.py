"""Shapes of other packages as they are: DeepXDE's geometries, shapely's polygons, and objects of one's own."""

from __future__ import annotations

import functools
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.domains.polygon import Polygon
from phasecore.problems.domains.shapes import Shape

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEAR = 2e-6
"""How near the boundary is on it, relative to the size of the shape: DeepXDE computes in float32."""

DRAWN_FOR_BOUNDS = 500
"""Points on the boundary that show whether a box is around a shape."""

_OWN = ("bounds", "distance", "sample_boundary", "normals")
_OF_DEEPXDE = ("inside", "on_boundary", "random_boundary_points", "boundary_normal", "bbox")


def as_shape(given: Any) -> Shape | None:
    """Return a shape, or what a shape of another package is as one; None for anything else.

    Neither package is imported: a shape of theirs is known by what it can do.

    Raises:
        InputError: for a geometry of shapely's that is no polygon, empty or not valid.

    Example:
        >>> as_shape((0, 1)) is None
        True
    """
    if isinstance(given, Shape):
        return given
    if isinstance(given, type):
        return None
    if all(hasattr(given, name) for name in _OF_DEEPXDE):
        return OfDeepXDE(given)
    if hasattr(given, "geom_type"):
        return _of_shapely(given)
    return OfOnesOwn(given) if all(hasattr(given, name) for name in _OWN) else None


def in_time(given: Any) -> tuple[Any, tuple[float, float]] | None:
    """Return the spatial geometry and the interval of time of DeepXDE's `GeometryXTime`; None for anything else."""
    if isinstance(given, type) or not (hasattr(given, "geometry") and hasattr(given, "timedomain")):
        return None
    interval = interval_of(given.timedomain)
    return None if interval is None else (given.geometry, interval)


def interval_of(given: Any) -> tuple[float, float] | None:
    """Return the ends of DeepXDE's `Interval` or `TimeDomain`; None for anything else."""
    if isinstance(given, type) or not all(hasattr(given, name) for name in (*_OF_DEEPXDE, "l", "r")):
        return None
    return float(given.l), float(given.r)


def is_time(given: Any) -> bool:
    """Whether something is DeepXDE's `TimeDomain`, which an interval in space is not."""
    return interval_of(given) is not None and hasattr(given, "t0")


def _of_shapely(given: Any) -> Polygon:
    kind = str(given.geom_type)
    what = f"domain, shapely's {kind}"
    if getattr(given, "is_empty", False):
        raise InputError(what, received="an empty one", expected="a polygon with an area")
    if kind not in ("Polygon", "MultiPolygon"):
        fix = "Keep its polygons: shapely.MultiPolygon([part for part in shape.geoms if part.geom_type == 'Polygon'])."
        raise InputError(
            what,
            received=f"{given!s:.60}",
            expected="a Polygon or a MultiPolygon",
            fix=fix if kind == "GeometryCollection" else "",
        )
    if not getattr(given, "is_valid", True):
        import shapely

        raise InputError(
            what,
            received=f"one that is not valid: {shapely.is_valid_reason(given)}",
            expected="a valid one",
            fix="shapely.make_valid makes one of it.",
        )
    if kind == "MultiPolygon":
        return Polygon.of_parts([_of_shapely(part) for part in given.geoms])
    rings = [np.asarray(ring.coords)[:, :2] for ring in (given.exterior, *given.interiors)]
    return Polygon.of_valid(rings[0], rings[1:])


@final
class OfDeepXDE(Shape):
    """A geometry of DeepXDE, such as `deepxde.geometry.Disk` or what its `CSGDifference` makes.

    Its `inside` and `random_boundary_points` are what is relied on. Of its `bbox` and `on_boundary` not all geometries
    say what is so: an ellipse's box leaves a part of it out, and a star's `on_boundary` answers for all points at once.

    Args:
        geometry: the geometry.
    """

    def __init__(self, geometry: Any) -> None:
        self._geometry = geometry

    @functools.cached_property
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, dimension): its own, or around points of its boundary that are outside."""
        low, high = np.asarray(self._geometry.bbox, dtype=np.float64)
        drawn = self.sample_boundary(DRAWN_FOR_BOUNDS, np.random.default_rng(0))
        lowest, highest = drawn.min(axis=0), drawn.max(axis=0)
        # the outermost points are drawn but nearly
        margin = 1e-3 * (highest - lowest)
        rounding = 1e-6 * (high - low)
        return np.stack(
            [
                np.where(lowest < low - rounding, lowest - margin, low),
                np.where(highest > high + rounding, highest + margin, high),
            ]
        )

    @property
    def boundary_measure(self) -> float:
        """Its perimeter, as far as it says; infinity else."""
        return float(getattr(self._geometry, "perimeter", np.inf))

    def distance(self, points: Floats) -> Floats:
        """Return -1 inside and 1 outside, shape (n,), all but nothing near the boundary: distances are not known."""
        inside = self._inside(points)
        low, high = self.bounds
        step = NEAR * float((high - low).max())
        moves = step * np.concatenate([np.eye(points.shape[1]), -np.eye(points.shape[1])])
        near = np.any([self._inside(points + move) != inside for move in moves], axis=0)
        near |= np.broadcast_to(np.asarray(self._geometry.on_boundary(points), dtype=bool), inside.shape)
        return np.where(inside, -1.0, 1.0) * np.where(near, 1e-6 * step, 1.0)

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the boundary, shape (count, dimension), from numpy's global generator, left as it was."""
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(int(generator.integers(2**32)))  # noqa: NPY002
        try:
            found = np.asarray(self._geometry.random_boundary_points(count), dtype=np.float64)
        finally:
            np.random.set_state(state)  # noqa: NPY002
        if len(found) < count:
            raise InputError("points on a boundary of DeepXDE's", received=len(found), expected=count)
        return generator.permutation(found)[:count]

    def normals(self, points: Floats) -> Floats:
        """Return the outward unit normals, shape (n, dimension)."""
        try:
            found = np.asarray(self._geometry.boundary_normal(points), dtype=np.float64)
            none = ~found.any(axis=1)
            if none.any():
                # of several together it takes that of the one whose boundary a point is on, with more slack in float32
                found[none] = self._geometry.boundary_normal(points[none].astype(np.float32))
        except NotImplementedError as error:
            raise InputError(
                "normals on the boundary of a shape",
                received=f"DeepXDE's {type(self._geometry).__name__}, which has none: {error}",
                expected="a shape that knows its normals",
                fix="Use a condition that needs none, or a Polygon of many vertices.",
            ) from error
        return found

    def _inside(self, points: Floats) -> Bools:
        return np.asarray(self._geometry.inside(points), dtype=bool)


@final
class OfOnesOwn(Shape):
    """An object that has the attributes of a shape without deriving from it.

    Args:
        given: with `bounds`, `distance`, `sample_boundary` and `normals`, and `boundary_measure` if it is known.
    """

    def __init__(self, given: Any) -> None:
        self.given = given

    @property
    def bounds(self) -> Floats:
        """Lower and upper bounds, shape (2, dimension)."""
        return np.asarray(self.given.bounds, dtype=np.float64)

    @property
    def boundary_measure(self) -> float:
        """Length or area of the boundary, infinity where it is not said."""
        return float(getattr(self.given, "boundary_measure", np.inf))

    def distance(self, points: Floats) -> Floats:
        """Return how far points are from the boundary, negative inside, shape (n,)."""
        return np.asarray(self.given.distance(points), dtype=np.float64)

    def sample_boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the boundary, shape (count, dimension)."""
        return np.asarray(self.given.sample_boundary(count, generator), dtype=np.float64)

    def normals(self, points: Floats) -> Floats:
        """Return the outward unit normals, shape (n, dimension)."""
        return np.asarray(self.given.normals(points), dtype=np.float64)
