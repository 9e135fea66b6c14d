"""Conditions: what the solution must satisfy on part of the boundary, at the start, or at data points.

A condition is one contribution to a loss term, with points and a residual of its own. An initial condition is a
prescribed value on the face where time has its lower bound.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.problems.given_values import check_known, check_some, check_values
from phasecore.problems.repeated import parts_by_place, rows_of
from phasecore.problems.sampling import latin_hypercube
from phasecore.problems.where import (
    Part,
    Where,
    axis_of,
    evaluated,
    fixed,
    points_of_data,
    where_of,
)

Floats = NDArray[np.float64]
Value = float | Callable[[Mapping[str, Floats]], Floats]

ROUNDING = 1e-5
"""By how much of their extent points may differ that are the same in another precision, or computed another way."""


class Condition(ABC):
    """One condition of a problem.

    Attributes:
        term: the loss term that it contributes to, such as "initial" or "boundary".
    """

    term: str

    @property
    def place(self) -> str:
        """The part of the domain where it holds, "boundary" or "interior"; empty where `sample` knows better."""
        return ""

    @property
    def part(self) -> Part | None:
        """Which points of the boundary it holds at, where its place is "boundary"; None for all."""
        return None

    @property
    def is_fixed(self) -> bool:
        """Whether `sample` returns given points, however many are asked for."""
        return False

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """The coordinates that it integrates over, with their bounds; none where its points stand alone."""
        return {}

    @property
    def group_size(self) -> int:
        """Number of points that follow each other and belong together, as the nodes of an integral do."""
        return 1

    def parts(self, points: Floats, count: int) -> list[Floats]:
        """Cut points of this condition into parts that are each points of it, for so many processes.

        Args:
            points: as `sample` returns them, shape (m, dimension).
            count: number of parts; some are empty where there is too little to cut.

        Example:
            >>> [part[:, 0].tolist() for part in Periodic("wrap", "x", ("u",)).parts(np.arange(6.0)[:, None], 2)]
            [[0.0, 1.0, 3.0, 4.0], [2.0, 5.0]]
        """
        groups = np.reshape(points, (-1, self.group_size, np.shape(points)[-1]))
        return [part.reshape(-1, groups.shape[-1]) for part in np.array_split(groups, count)]

    @property
    def needs_normals(self) -> bool:
        """Whether `targets` takes the components of the outward unit normals too, as "normal x" and so on."""
        return False

    @property
    @abstractmethod
    def partials(self) -> tuple[str, ...]:
        """The partials that the residual reads."""

    @abstractmethod
    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Draw the condition's points, shape (m, dimension)."""

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return what the residuals compare with at the condition's points, each of shape (m,); computed once.

        Args:
            coordinates: values of each coordinate at the condition's points, shape (m,).
        """
        return {}

    @abstractmethod
    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the residuals at the condition's points, one-dimensional.

        Args:
            partials: values of each declared partial at the condition's points, shape (m,).
            targets: what `targets` returned, as arrays of the same framework.
            xp: the namespace of the arrays, see `phasecore.arrays`.
        """


class Placed(Condition):
    """A condition that holds wherever it is told to, see `phasecore.problems.where`."""

    @property
    @abstractmethod
    def at(self) -> Where:
        """Where it holds."""

    @property
    def place(self) -> str:
        """The part of the domain where it holds, unless that is a face or points."""
        return self.at.place

    @property
    def part(self) -> Part | None:
        """Which points of the boundary are meant, if not all."""
        return self.at.part

    @property
    def is_fixed(self) -> bool:
        """Whether its points are given."""
        return self.at.points is not None

    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Draw `count` points in the bounds or on a face of them, shape (count, dimension), or return those given."""
        return self.at.sample(count, coordinates, bounds, generator)


@final
@dataclass(frozen=True)
class Prescribed(Placed):
    """Partials with given values, such as on a face of the domain: initial, Dirichlet and Neumann conditions.

    Attributes:
        term: the loss term.
        face: a coordinate and the number that it is fixed at, such as `("t", 0.0)`; or "boundary", the whole of it but
            for the ends of time "t"; "interior"; a function of the coordinates by name that says which points of the
            boundary are meant, shape (m,); or points of shape (m, dimension).
        values: for each partial ("u" for Dirichlet, "u_x" for Neumann) a number or
            `value(coordinates) -> numpy array of shape (m,)`, with the coordinates by name.

    Raises:
        InputError: for no values, or another `face`.

    Example:
        >>> wall = Prescribed("boundary", ("x", -1.0), {"u": 0.0})
        >>> wall.partials
        ('u',)
    """

    term: str
    face: tuple[str, float] | str | Part | ArrayLike
    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        check_values("prescribed values", self.term, self.values, '{"u": 0.0}')
        check_some("prescribed values", self.term, self.partials)
        self.at  # noqa: B018 - read where it is written

    @functools.cached_property
    def at(self) -> Where:
        """Where it holds."""
        return where_of(self.term, self.face)

    @property
    def partials(self) -> tuple[str, ...]:
        """The partials with a prescribed value."""
        return tuple(self.values)

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the prescribed values, shape (m,) each."""
        count = len(next(iter(coordinates.values())))
        given = {}
        for name, value in self.values.items():
            what = f"prescribed value of {name!r} in term {self.term!r}"
            given[name] = value = evaluated(what, value, coordinates) if callable(value) else value
            check_known(what, self.term, name, value)
            if np.shape(value) not in ((), (count,)):
                raise InputError(
                    what,
                    received=f"shape {np.shape(value)}",
                    expected=f"a number, or shape ({count},): one for each point",
                )
        return {name: np.broadcast_to(value, (count,)) for name, value in given.items()}

    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the deviations from the prescribed values, shape (m * number of partials,)."""
        return _deviations(partials, targets, xp)


@final
@dataclass(frozen=True)
class Periodic(Condition):
    """Partials that are equal on two opposite faces.

    Attributes:
        term: the loss term.
        coordinate: the coordinate along which the solution is periodic.
        matched: the partials that are equal, such as `("u", "u_x")`, or the name of the only one.

    Raises:
        InputError: for no partials.
    """

    term: str
    coordinate: str
    matched: tuple[str, ...] | str

    def __post_init__(self) -> None:
        check_some("matched partials", self.term, self.partials)

    @property
    def partials(self) -> tuple[str, ...]:
        """The matched partials."""
        return (self.matched,) if isinstance(self.matched, str) else self.matched

    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Draw `count` points on the lower face, then their partners on the upper: shape (2 * count, dimension)."""
        axis = axis_of(f"coordinate of a periodic condition in term {self.term!r}", self.coordinate, coordinates)
        lower = latin_hypercube(count, fixed(bounds, axis, bounds[0, axis]), generator)
        upper = lower.copy()
        upper[:, axis] = bounds[1, axis]
        return np.concatenate([lower, upper])

    def parts(self, points: Floats, count: int) -> list[Floats]:
        """Cut points into parts, each with the partners of its own, see `Condition.parts`."""
        lower, upper = np.split(points, 2)
        pairs = zip(np.array_split(lower, count), np.array_split(upper, count), strict=True)
        return [np.concatenate(pair) for pair in pairs]

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return none: the faces are compared with one another.

        Raises:
            InputError: for points that are not those of one face, then their partners on the other, in the same order.
        """
        count = len(next(iter(coordinates.values())))
        if count % 2 or not self._are_partners(coordinates):
            raise InputError(
                f"points of a periodic condition in term {self.term!r}",
                received=f"{count} points" if count % 2 else "points whose second half is not opposite the first",
                expected=f"those of one face along {self.coordinate!r}, then their partners on the other, in order",
                fix="Draw them with the problem's sample(), and cut them with phasecore.problems.part_of().",
            )
        return {}

    def _are_partners(self, coordinates: Mapping[str, Floats]) -> bool:
        """Whether the halves are the same but for the coordinate, along which each has one value."""
        for name, values in coordinates.items():
            one, other = np.split(np.asarray(values, dtype=np.float64), 2)
            near = ROUNDING * float(np.ptp(values))
            if name == self.coordinate:
                if max(np.ptp(one), np.ptp(other)) > near or one[0] == other[0]:
                    return False
            elif np.abs(one - other).max() > near:
                return False
        return True

    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the differences between the faces, shape (m / 2 * number of partials,)."""
        half = partials[self.partials[0]].shape[0] // 2
        return xp.concat([partials[name][:half] - partials[name][half:] for name in self.partials])


@final
@dataclass(frozen=True)
class Data(Condition):
    """Partials measured at given points.

    Attributes:
        term: the loss term.
        points: where, shape (m, dimension).
        values: for each partial its values, shape (m,).

    Raises:
        InputError: if there are no values, the lengths differ, or a value is no finite real number.
    """

    term: str
    points: Floats
    values: Mapping[str, Floats]

    def __post_init__(self) -> None:
        check_values("data", self.term, self.values, '{"u": values}')
        check_some("data", self.term, self.partials)
        self._places  # noqa: B018 - read where it is written
        for name, values in self.values.items():
            check_known(f"data for {name!r} in term {self.term!r}", self.term, name, values)
            if np.asarray(values).dtype.kind not in "fiu":
                raise InputError(
                    f"data for {name!r} in term {self.term!r}",
                    received=f"dtype {np.asarray(values).dtype}",
                    expected="real numbers",
                )
            if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
                raise InputError(
                    f"data for {name!r} in term {self.term!r}", received="NaN or infinity", expected="finite numbers"
                )
            if np.shape(values) != np.shape(self.points)[:1]:
                raise InputError(
                    f"data for {name!r} in term {self.term!r}",
                    received=f"values of shape {np.shape(values)} at points of shape {np.shape(self.points)}",
                    expected="one value for each point",
                )

    @property
    def partials(self) -> tuple[str, ...]:
        """The measured partials."""
        return tuple(self.values)

    @property
    def is_fixed(self) -> bool:
        """Its points are given."""
        return True

    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Return the data points; `count` does not matter."""
        return self._places

    def parts(self, points: Floats, count: int) -> list[Floats]:
        """Cut points into parts, each with all that was measured at its places, see `Condition.parts`."""
        return parts_by_place(points, count)

    @functools.cached_property
    def _places(self) -> Floats:
        return points_of_data(self.term, self.points)

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measured values at these of the data's points, shape (m,) each.

        Raises:
            InputError: for points that are none of them, or have a part of what was measured at one place.
        """
        rows = rows_of(self.term, np.stack(list(coordinates.values()), axis=1), self._places)
        return self.values if rows is None else {name: np.asarray(own)[rows] for name, own in self.values.items()}

    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the deviations from the data, shape (m * number of partials,)."""
        return _deviations(partials, targets, xp)


def _deviations(partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
    return xp.concat([partials[name] - target for name, target in targets.items()])
