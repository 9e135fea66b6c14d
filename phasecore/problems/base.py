"""The contract of a problem: coordinates, domain, equations, conditions, reference solution and presets."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from phasecore.arguments import is_number, is_whole
from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError
from phasecore.partials import parse_partial
from phasecore.problems.coefficients import STOOD_FOR, Trained, stand_in, true_value
from phasecore.problems.conditions import Condition
from phasecore.problems.domains.region import Region, region_of
from phasecore.problems.placement import points_of
from phasecore.problems.reference_data import ReferenceData
from phasecore.problems.reserved import axes_of
from phasecore.problems.sampling import latin_hypercube
from phasecore.problems.short import (
    Conditions,
    Inferred,
    bind,
    complete,
    coordinates_of,
    equations_of,
    grid_of,
    name_of,
    normalize,
    outputs_of,
)
from phasecore.problems.training_set import CollocationPoints, Floats, Preset, presets_of

__all__ = ["CollocationPoints", "Floats", "Preset", "Problem", "relative_l2_error"]


class Problem(ABC):
    """A partial differential equation with all that is needed to train a network on it and to judge the result.

    Subclass it, say what the domain and the outputs are, and write the residuals with ordinary arithmetic: the same
    source runs on every backend. A class attribute that is a number, a text, a bool or `phasecore.trained(...)` is a
    parameter, `Wave(speed=2)`. What else there is may be left out, and is then inferred. In the long form the class is
    a frozen dataclass whose fields are the parameters, and says all of it.

    Class attributes:
        domain: lower and upper bound of each coordinate.
        outputs: names of the network's outputs in order.
        name: what it is called; the class's name in lower case by default.
        coordinates: names of the coordinates, the network's inputs in order; the keys of the domain by default.
        equations: for each equation (a loss term), the partials that its residual reads, see `phasecore.partials`. By
            default those that `residuals` reads when it is run once on stand-ins; the equation is called "pde" where it
            returns one residual, "pde_1", "pde_2" and so on where it returns several, else as the mapping does.
        field_partials: the partials that `fields` reads; the outputs by default.
        grid: number of evaluation points along each coordinate; 1001, 101 and 31 in one to three dimensions by default.
        reference_accuracy: how exact the reference solution is, in words.
        presets: set-ups by name; "quick" suits two cores and is there always: by default 2500 points (500 on a line),
            4 x 64, 3000 iterations.

    Example:
        >>> import phasecore
        >>> class Wave(phasecore.Problem):
        ...     domain = {"x": (0, 1), "t": (0, 1)}
        ...     outputs = ("u",)
        ...     speed = 1.0
        ...     def residuals(self, x, u, xp):
        ...         return u["u_tt"] - self.speed**2 * u["u_xx"]
        >>> problem = Wave(speed=2.0)
        >>> problem.name, problem.equations, problem.sample(100, seed=0).interior.shape
        ('wave', {'pde': ('u_tt', 'u_xx')}, (100, 2))
    """

    name: ClassVar[str] = cast(Any, Inferred(name_of, kept=True))
    coordinates: ClassVar[tuple[str, ...]] = cast(Any, Inferred(coordinates_of, kept=True))
    outputs: ClassVar[tuple[str, ...]] = cast(Any, Inferred(outputs_of))
    equations: ClassVar[Mapping[str, tuple[str, ...]]] = cast(Any, Inferred(equations_of, kept=True))
    field_partials: ClassVar[tuple[str, ...]] = ()
    grid: ClassVar[tuple[int, ...]] = cast(Any, Inferred(grid_of))
    reference_accuracy: ClassVar[str] = "not stated"
    presets: ClassVar[Mapping[str, Preset]] = cast(Any, Inferred(presets_of))
    names_equations: ClassVar[bool] = True
    """Whether `residuals` returns a mapping; one that returns residuals alone has equations that are inferred."""
    _trained_names: ClassVar[tuple[str, ...]] = ()
    """Attributes of the class that are trained coefficients."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in cls.__mro__[:0:-1]:
            if issubclass(base, Problem) and base is not Problem and base.__init__ is Problem.__init__:
                complete(base, _CONTRACT)
        normalize(cls, Problem)
        own = [name for name, value in vars(cls).items() if isinstance(value, Trained)]
        cls._trained_names = (*cls._trained_names, *own)

    def __init__(self, *values: Any, **named: Any) -> None:
        if type(self).__init__ is Problem.__init__:
            complete(type(self), _CONTRACT)
            bind(self, values, named)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        if type(self).__init__ is Problem.__init__:
            # nothing was made of this class yet in a process that is sent one
            complete(type(self), _CONTRACT)
        vars(self).update(state)

    @property
    @abstractmethod
    def domain(self) -> Mapping[Any, Any]:
        """Lower and upper bound of each coordinate; or a shape, alone or under the names of its coordinates.

        `{"x": (0, 1), "t": (0, 1)}`, `{("x", "y"): phasecore.Disk((0, 0), 1), "t": (0, 1)}`.
        """

    @property
    def conditions(self) -> Sequence[Condition]:
        """Initial, boundary and data conditions; several may share a term. None by default.

        A subclass extends `super().conditions`, or `super().conditions()`.
        """
        return Conditions()

    @abstractmethod
    def residuals(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return the residual of each equation, shape (n,).

        Where `equations` is inferred, the residual of the only equation or a tuple of residuals will do.

        Args:
            coordinates: values of each coordinate, shape (n,).
            partials: values of each declared partial under its declared name, shape (n,).
            xp: the namespace of the arrays, see `phasecore.arrays`.
        """

    def reference(self, points: ArrayLike) -> Mapping[str, Floats]:
        """Return the reference solution: each field at `points` of shape (m, dimension), shape (m,).

        There need be none; then no error is measured. In a class that is not decorated the points are checked before,
        the method may be written with the coordinates, `reference(self, x, t)`, and may return the values of the only
        output. A `phasecore.ReferenceData`, the path of its file, or a pair of points and values will do too.

        Raises:
            InputError: if there is none.
        """
        raise InputError(f"reference of problem {self.name!r}", received="a problem that has none")

    @property
    def has_reference(self) -> bool:
        """Whether there is a reference solution."""
        return type(self).reference not in (Problem.reference, None)

    @property
    def reference_data(self) -> ReferenceData | None:
        """The reference, where it is known at points only."""
        found: Any = type(self).reference
        return found if isinstance(found, ReferenceData) else None

    def fields(
        self, coordinates: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace
    ) -> Mapping[str, Array]:
        """Return what is compared with the reference, shape (m,) each; the outputs unless overridden."""
        return {output: partials[output] for output in self.outputs}

    @property
    def parameters(self) -> dict[str, Any]:
        """The equation's parameters by name: the fields of the dataclass, if it is one, and all that are trained."""
        names: list[str] = [item.name for item in fields(self)] if is_dataclass(self) else []
        return {name: getattr(self, name) for name in dict.fromkeys([*names, *self._trained_names])}

    @property
    def trained_coefficients(self) -> Mapping[str, Trained]:
        """The parameters that are unknown and trained, by name; see `phasecore.trained`."""
        held = {**self.parameters, **vars(self)}
        return {name: value for name, value in held.items() if isinstance(value, Trained)}

    def with_coefficients(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with values of its trained coefficients; everything else stays as it is.

        Args:
            values: by name, numbers or arrays of shape () of any framework.

        Raises:
            InputError: for a name that no trained coefficient has.
        """
        known = self.trained_coefficients
        for name in values:
            if name not in known:
                raise InputError(
                    f"trained coefficients of problem {self.name!r}", received=repr(name), expected=f"among {[*known]}"
                )
        made: Self = stand_in(self, known, values)
        return made

    def true_parameter(self, name: str) -> Any:
        """Return what a parameter is in truth, as reference solutions and data need it.

        Of a trained coefficient that is the value that `phasecore.trained` was told, or else the parameter's default;
        in copies of `with_coefficients` too.

        Raises:
            InputError: for a trained coefficient of which neither says a value.
        """
        held = getattr(self, STOOD_FOR, {}).get(name, getattr(self, name))
        default = getattr(type(self), name, None)
        return true_value(held, default if is_number(default) else getattr(default, "true", None))

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms: equations first, then conditions in order of appearance."""
        return tuple(dict.fromkeys([*self.equations, *(condition.term for condition in self.conditions)]))

    @property
    def fields_read(self) -> tuple[str, ...]:
        """The partials that `fields` reads."""
        return self.field_partials or self.outputs

    def sample(self, points: int, *, seed: int = 0, condition_points: int | None = None) -> CollocationPoints:
        """Draw collocation points by Latin hypercube sampling; randomly ordered.

        Args:
            points: number of collocation points of the equations.
            seed: the same seed gives the same points.
            condition_points: number of points of each condition; by default `2 sqrt(points)`, rounded up.

        Raises:
            InputError: if a count is not a positive integer.
        """
        _check_count("points", points)
        if not is_whole(seed, least=0):
            raise InputError("seed of the points", received=repr(seed), expected="a whole number, 0 or more")
        if condition_points is None:
            condition_points = int(np.ceil(2 * np.sqrt(points)))
        _check_count("condition_points", condition_points)
        region, bounds = self.region, self.bounds
        streams = np.random.default_rng(seed).spawn(1 + len(self.conditions))
        return CollocationPoints(
            interior=region.inside(lambda count: latin_hypercube(count, bounds, streams[0]), points),
            conditions=tuple(
                points_of(condition, condition_points, region, stream)
                for condition, stream in zip(self.conditions, streams[1:], strict=True)
            ),
        )

    @property
    def bounds(self) -> Floats:
        """Lower bounds, then upper bounds: shape (2, dimension)."""
        return self.region.bounds

    @property
    def region(self) -> Region:
        """The domain as what can draw points, and say what is inside, its coordinates as `coordinates` has them."""
        return region_of(self.name, self.domain, self.coordinates)

    def normals(self, points: Floats) -> Floats:
        """Return the outward unit normals at points on the boundary, shape (m, dimension), 0 along time "t"."""
        return self.region.normals(points)

    def evaluation_points(self) -> Floats:
        """Return the fixed grid of the relative L2 error, shape (prod(grid), dimension), last axis fastest.

        Of a domain that is no box those of its points that are inside, fewer.
        """
        axes = axes_of(self)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        region = self.region
        return points if region.is_box else points[region.contains(points)]

    def check_points(self, points: ArrayLike, what: str = "points") -> Floats:
        """Return `points` as float64 of shape (n, dimension).

        Raises:
            InputError: for another shape, values that are not finite, or points outside the domain.
        """
        expected = f"real numbers of shape (n, {len(self.coordinates)}), n at least 1: {self.coordinates}"
        where = f"{what} of problem {self.name!r}"
        try:
            given = np.asarray(points)
        except (ValueError, TypeError) as error:
            raise InputError(where, received=str(error), expected=expected) from error
        if given.dtype.kind not in "fiu":
            raise InputError(where, received=f"dtype {given.dtype}", expected=expected)
        if given.ndim != 2 or given.shape[1] != len(self.coordinates) or len(given) == 0:
            raise InputError(where, received=f"shape {given.shape}", expected=expected)
        values = given.astype(np.float64)
        region = self.region
        inside = region.contains(values)
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            raise InputError(
                f"{where} outside the domain",
                received=f"row {row}: {values[row].tolist()} ({int((~inside).sum())} rows in all)",
                expected=region.described(),
            )
        return values

    def check_collocation_points(self, points: CollocationPoints | ArrayLike) -> CollocationPoints:
        """Return points for training, checked: those of `sample`, or the equations' alone, shape (n, dimension).

        Points of the conditions that are not given are sampled with seed 0.

        Raises:
            InputError: for points of another problem, of a wrong shape, or outside the domain.
        """
        if not isinstance(points, CollocationPoints):
            interior = self.check_points(points, "collocation points")
            return CollocationPoints(interior, self.sample(len(interior), seed=0).conditions)
        if len(points.conditions) != len(self.conditions):
            raise InputError(
                f"points of problem {self.name!r}",
                received=f"points for {len(points.conditions)} conditions",
                expected=f"points for {len(self.conditions)} conditions",
                fix="Draw them with this problem's own sample().",
            )
        return CollocationPoints(
            self.check_points(points.interior, "collocation points"),
            tuple(
                self.check_points(own, f"points of condition {condition.term!r}")
                for own, condition in zip(points.conditions, self.conditions, strict=True)
            ),
        )

    def check_terms(self) -> None:
        """Check that no condition has the name of an equation, and that frameworks take the names in their states.

        Raises:
            InputError: for the first that is not so, and for equations that cannot be inferred.
        """
        shared = sorted(set(self.equations) & {condition.term for condition in self.conditions})
        if shared:
            raise InputError(
                f"terms of problem {self.name!r}",
                received=f"{shared[0]!r} for an equation and for a condition",
                expected="different names, since each term has one loss",
            )
        for term in self.terms:
            if not isinstance(term, str) or set(term) & _UNNAMED:
                raise InputError(
                    f"name of a term of problem {self.name!r}",
                    received=repr(term),
                    expected='a text without "." and "/", which names of a framework\'s variables may not have',
                )

    def all_partials(self) -> tuple[str, ...]:
        """Return every partial that the equations read, each once."""
        return tuple(dict.fromkeys(name for names in self.equations.values() for name in names))

    def check_partials(self) -> None:
        """Parse every declared partial.

        Raises:
            InputError: for the first that cannot be read.
        """
        declared = [*self.all_partials(), *self.fields_read]
        declared += [name for condition in self.conditions for name in condition.partials]
        for name in declared:
            parse_partial(name, self.outputs, self.coordinates, self.parameters)


_UNNAMED = frozenset("./")
"""Characters that names of variables may not have, the first in torch, the second in Keras."""

_CONTRACT = frozenset(name for name in (*vars(Problem), *Problem.__annotations__) if not name.startswith("__"))
"""Names of a problem's own, which are no parameters."""


def relative_l2_error(prediction: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """Return `norm2(u - u_ref) / norm2(u_ref)` over all fields of the reference together, NaN where that is zero.

    Raises:
        InputError: for a field whose two shapes differ.

    Example:
        >>> relative_l2_error({"u": np.asarray([1.0, 1.0])}, {"u": np.asarray([1.0, 0.0])})
        1.0
    """
    for name, values in reference.items():
        if np.shape(prediction[name]) != np.shape(values):
            raise InputError(
                f"relative L2 error of field {name!r}",
                received=f"a prediction of shape {np.shape(prediction[name])}, a reference of shape {np.shape(values)}",
                expected="one shape, so that the values belong to the same points",
            )
    predicted = np.concatenate([np.asarray(prediction[name], dtype=np.float64) for name in reference])
    exact = np.concatenate([np.asarray(values, dtype=np.float64) for values in reference.values()])
    # not numpy.linalg.norm: its BLAS threads would wait actively and slow the framework's own
    size = np.square(exact).sum()
    return float(np.sqrt(np.square(predicted - exact).sum() / size)) if size else math.nan


def _check_count(what: str, count: int) -> None:
    if not is_whole(count):
        raise InputError(f"number of {what}", received=repr(count), expected="a positive integer")
