"""The region of a problem: intervals and shapes, each of some of the coordinates, such as a disk times an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError, described
from phasecore.problems.domains.foreign import OfDeepXDE, as_shape, in_time, interval_of, is_time
from phasecore.problems.domains.probing import check_shape, checked
from phasecore.problems.domains.shapes import Shape

Floats = NDArray[np.float64]

TIME = "t"
"""The coordinate whose ends are no part of the boundary."""

NAMES = ("x", "y", "z")
SLACK = 1e-6
"""How far outside a point may be by rounding, relative to the size of the region."""

MOST_ROUNDS = 1000

_EXPECTED = (
    'bounds by coordinate, {"x": (0, 1), "t": (0, 1)}, shapes by their coordinates, {("x", "y"): Disk((0, 0), 1)}'
)


@final
@dataclass(frozen=True)
class Region:
    """Intervals and shapes that make a problem's domain together.

    Attributes:
        coordinates: names, in order.
        parts: of each part the places of its coordinates, and its shape or its two bounds.

    Example:
        >>> from phasecore.problems.domains.shapes import Disk
        >>> region = region_of("mine", {("x", "y"): Disk((0, 0), 1), "t": (0, 2)})
        >>> region.coordinates, region.bounds.tolist()
        (('x', 'y', 't'), [[-1.0, -1.0, 0.0], [1.0, 1.0, 2.0]])
    """

    coordinates: tuple[str, ...]
    parts: tuple[tuple[tuple[int, ...], Any], ...]

    @property
    def is_box(self) -> bool:
        """Whether there are intervals only."""
        return not any(isinstance(part, Shape) for _, part in self.parts)

    @property
    def bounds(self) -> Floats:
        """Lower bounds, then upper bounds: shape (2, dimension)."""
        found = np.empty((2, len(self.coordinates)))
        for axes, part in self.parts:
            found[:, axes] = part.bounds if isinstance(part, Shape) else np.asarray(part, dtype=np.float64)[:, None]
        return found

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """Return which points of shape (n, dimension) are inside or on the boundary, up to rounding, shape (n,)."""
        low, high = self.bounds
        slack = SLACK * (high - low)
        inside: NDArray[np.bool_] = ((points >= low - slack) & (points <= high + slack)).all(axis=1)
        for axes, part in self.parts:
            if isinstance(part, Shape) and inside.any():
                inside[inside] = part.contains(points[inside][:, axes], float(slack[list(axes)].max()))
        return inside

    def inside(self, draw: Callable[[int], Floats], count: int, what: str = "points inside the domain") -> Floats:
        """Return points, or groups of them, that are drawn in the bounds and are inside: so many of what is drawn.

        Args:
            draw: returns about so many points, shape (n, dimension), or groups, shape (n, size, dimension), which are
                inside where all of their points are.
            count: how many are wanted.
            what: they are, for messages.

        Raises:
            InputError: for a region that is hardly ever met.
        """
        if self.is_box:
            return draw(count)
        found: list[Floats] = []
        wanted = count
        for _ in range(MOST_ROUNDS):
            drawn = draw(wanted)
            inside = self.contains(drawn.reshape(-1, drawn.shape[-1])).reshape(drawn.shape[:-1])
            found.append(drawn[inside.all(axis=tuple(range(1, inside.ndim)))])
            have = sum(map(len, found))
            if have >= count:
                return np.concatenate(found)[:count]
            # as many more as are missing, by the share that was inside
            wanted = math.ceil(1.2 * (count - have) * max(1.0, min(wanted / max(len(found[-1]), 1), 50.0))) + 8
        raise InputError(
            what,
            received=f"{have or 'none'} inside the domain of those drawn",
            expected=f"{count} within {self.described()}",
        )

    def boundary(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw points on the boundary, but for the ends of time, evenly, in random order, shape (count, dimension).

        Raises:
            InputError: where a shape draws points that are not on its boundary.
        """
        parts = [(axes, part) for axes, part in self._in_space()]
        low, high = self.bounds
        shares = _shares([part for _, part in parts])
        owners = generator.choice(len(parts), size=count, p=shares / shares.sum())
        points = self.inside(lambda n: generator.uniform(low, high, size=(n, len(low))), count)
        for place, (axes, part) in enumerate(parts):
            own = np.flatnonzero(owners == place)
            if len(own):
                drawn = (
                    part.sample_boundary(len(own), generator)
                    if isinstance(part, Shape)
                    else _ends(part, len(own), generator)
                )
                points[np.ix_(own, np.asarray(axes))] = checked(drawn, (len(own), len(axes)), "points on its boundary")
        outside = ~self.contains(points)
        if outside.any():
            raise InputError(
                "points on the boundary of the domain",
                received=f"{int(outside.sum())} of {count} outside, the first {points[outside][0].tolist()}",
                expected="points that the domain contains",
            )
        return points

    def normals(self, points: Floats) -> Floats:
        """Return the outward unit normals at points on the boundary, shape (n, dimension), zeros elsewhere.

        Along time they are zero.
        """
        low, high = self.bounds
        normals, nearest = np.zeros_like(points), np.full(len(points), np.inf)
        for axes, part in self._in_space():
            own, gap = points[:, axes], self._gap(axes, part, points)
            if isinstance(part, Shape):
                found = checked(part.normals(own), own.shape, "normals")
            else:
                found = np.where(np.abs(own - low[list(axes)]) < np.abs(own - high[list(axes)]), -1.0, 1.0)
            nearer = (gap < nearest) & (gap <= SLACK * float(np.diff(self.bounds[:, axes], axis=0).max()))
            nearest = np.minimum(gap, nearest)
            normals[nearer] = 0.0
            normals[np.ix_(np.flatnonzero(nearer), np.asarray(axes))] = found[nearer]
        return normals

    def gap(self, points: Floats) -> Floats:
        """Return how far points are from the boundary, the ends of time apart, shape (n,); NaN where it is not known.

        From that of shapes put together at least so far.
        """
        parts = self._in_space()
        gaps: Floats = np.min([self._gap(axes, part, points) for axes, part in parts], axis=0)
        known = not any(isinstance(part, OfDeepXDE) for _, part in parts)
        return gaps if known else np.full(len(points), np.nan)

    def described(self) -> str:
        """Return the region in words."""
        low, high = self.bounds
        words = [f"{name} in [{low[k]:g}, {high[k]:g}]" for k, name in enumerate(self.coordinates)]
        shapes = [
            f"({', '.join(self.coordinates[k] for k in axes)}) in the {type(part).__name__}"
            for axes, part in self.parts
            if isinstance(part, Shape)
        ]
        return ", ".join([*words, *shapes])

    def _gap(self, axes: tuple[int, ...], part: Any, points: Floats) -> Floats:
        """How far points are from the boundary of a part, shape (n,)."""
        if isinstance(part, Shape):
            return np.asarray(np.abs(part.distance(points[:, axes])))
        (axis,), (low, high) = axes, self.bounds
        return np.asarray(np.minimum(np.abs(points[:, axis] - low[axis]), np.abs(points[:, axis] - high[axis])))

    def _in_space(self) -> list[tuple[tuple[int, ...], Any]]:
        parts = [(axes, part) for axes, part in self.parts if self.coordinates[axes[0]] != TIME or len(axes) > 1]
        if not parts:
            raise InputError(
                "the boundary of the domain", received=f"{TIME!r} alone", expected="a coordinate of space",
                fix=f'Name the end, such as ("{TIME}", 0).',
            )  # fmt: skip
        return parts


def region_of(name: str, domain: Any, order: Sequence[str] | None = None) -> Region:
    """Return the region that a domain names.

    Args:
        name: of the problem, for messages.
        domain: bounds by coordinate; shapes by their coordinates; or a shape alone, of x, y and z, and of t where it is
            a `GeometryXTime` or a `TimeDomain` of DeepXDE.
        order: the coordinates as the problem declares them, of which those of a shape need not stand together; that of
            the domain by default.

    Raises:
        InputError: for anything else, a shape of one's own that breaks its word, and a domain that has other
            coordinates than the problem declares.

    Example:
        >>> region_of("mine", {"x": (0, 1), "t": (0, 9)}, ("t", "x")).bounds.tolist()
        [[0.0, 0.0], [9.0, 1.0]]
    """
    what = f"domain of problem {name!r}"
    if not isinstance(domain, Mapping):
        own = _names_of(what, domain)
        if order and len(order) == len(own) and not {*own} & {*order} - {TIME}:
            # the coordinates of a shape alone are called otherwise
            own = tuple(order)
        domain = {own: domain}
    coordinates: list[str] = []
    parts: list[tuple[tuple[int, ...], Any]] = []
    for key, given in _apart(what, domain):
        names = (key,) if isinstance(key, str) else tuple(key)
        axes = tuple(range(len(coordinates), len(coordinates) + len(names)))
        coordinates += names
        shape = as_shape(given)
        if shape is not None and (shape.bounds.ndim, len(shape.bounds)) != (2, 2):
            raise InputError(
                f"{what}, {key!r}: bounds", received=f"shape {shape.bounds.shape}", expected="(2, dimension)"
            )
        if shape is not None and shape.bounds.shape == (2, len(names)):
            check_shape(f"{what}, {key!r}", shape)
            parts.append((axes, shape))
        elif len(names) == 1 and _is_interval(given):
            parts.append((axes, tuple(map(float, given))))
        else:
            found = f"a {type(given).__name__} of {shape.bounds.shape[1]} coordinates" if shape else described(given)
            raise InputError(f"{what}, {key!r}", received=found, expected="two bounds, the lower first, or a shape")
    if not coordinates or len(set(coordinates)) < len(coordinates):
        raise InputError(what, received=f"coordinates {coordinates}", expected=f"each once: {_EXPECTED}")
    return _ordered(what, Region(tuple(coordinates), tuple(parts)), tuple(order or coordinates))


def _ordered(what: str, region: Region, order: tuple[str, ...]) -> Region:
    """The region with its coordinates in this order, and its parts in that of the first coordinate of each."""
    if sorted(order) != sorted(region.coordinates):
        missing = [name for name in order if name not in region.coordinates]
        surplus = [name for name in region.coordinates if name not in order]
        raise InputError(
            what,
            received=f"bounds or shapes for {list(region.coordinates)}",
            expected=f"them for each of the problem's coordinates {list(order)}"
            + (f", {missing} too" if missing else "")
            + (f", and none for {surplus}" if surplus else ""),
            fix="Without 'coordinates' in the class they are those of the domain.",
        )
    places = [order.index(name) for name in region.coordinates]
    parts = [(tuple(places[axis] for axis in axes), part) for axes, part in region.parts]
    return Region(order, tuple(sorted(parts, key=lambda part: part[0])))


def _names_of(what: str, given: Any) -> tuple[str, ...]:
    """The names of the coordinates of a shape that was given none."""
    if is_time(given):
        return (TIME,)
    apart = in_time(given)
    if apart is not None:
        return (*_names_of(what, apart[0]), TIME)
    if interval_of(given) is not None:
        return NAMES[:1]
    shape = as_shape(given)
    if shape is None or not 2 <= shape.bounds.shape[1] <= len(NAMES):
        raise InputError(what, received=described(given), expected=_EXPECTED)
    return NAMES[: shape.bounds.shape[1]]


def _apart(what: str, domain: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Names and what they name, DeepXDE's geometries with time as two, and its intervals as bounds."""
    for key, given in domain.items():
        apart = in_time(given)
        if apart is None:
            yield key, interval_of(given) or given
            continue
        *space, time = (key,) if isinstance(key, str) else key
        if time != TIME or not space:
            raise InputError(f"{what}, {key!r}", received="a geometry with time", expected=f"{TIME!r} as the last name")
        yield tuple(space), interval_of(apart[0]) or apart[0]
        yield time, apart[1]


def _is_interval(given: Any) -> bool:
    try:
        low, high = map(float, given)
    except (TypeError, ValueError):
        return False
    return -math.inf < low < high < math.inf


def _ends(interval: Any, count: int, generator: np.random.Generator) -> Floats:
    return np.asarray(interval)[generator.integers(0, 2, size=(count, 1))]


def _shares(parts: Sequence[Any]) -> Floats:
    """How much of the boundary is on that of each part, by its measure; the same of each where that is not known."""
    shares = np.ones(len(parts))
    if len(parts) > 1:
        with np.errstate(divide="ignore"):
            shares = np.asarray([np.divide(_measure(part), _content(part)) for part in parts])
    return shares if np.isfinite(shares).all() else np.ones(len(parts))


def _measure(part: Any) -> float:
    return float(part.boundary_measure) if isinstance(part, Shape) else 2.0


def _content(part: Any) -> float:
    """Length, area or volume."""
    return part.content if isinstance(part, Shape) else part[1] - part[0]
