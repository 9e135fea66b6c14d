"""The general condition, a residual of one's own at points, and integrals over part of the domain."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.arrays import Array, ArrayNamespace
from phasecore.errors import InputError, PhasecoreError, described
from phasecore.problems.coefficients import Trained, rehearsed
from phasecore.problems.conditions import Condition, Placed
from phasecore.problems.sampling import latin_hypercube
from phasecore.problems.standins import POINTS, StandIn, StandInNamespace, StandInPartials, ValueNeededError
from phasecore.problems.where import (
    Part,
    Where,
    axis_of,
    check_intervals,
    evaluated,
    is_within,
    real_numbers,
    shown,
    where_of,
)

Floats = NDArray[np.float64]
Residual = Callable[..., Any]

NORMAL = "normal "
"""How the names of the targets begin that hold the components of the normals, followed by the coordinate."""

WEIGHT = "weight of the node"
VALUE = "value of the integral"
"""Names of the targets that hold the weights of a quadrature and what the integral is to be; no coordinate's."""


@final
@dataclass(frozen=True)
class ResidualCondition(Placed):
    """Any condition: a residual of partials, coordinates and normals that is to be zero at points.

    Robin and flux conditions, radiation, interfaces and whatever else is pointwise, linear or not.

    Attributes:
        term: the loss term.
        where: "boundary", the whole of it but for the ends of time "t"; "interior"; a face of the domain or a plane
            across it, such as `("x", 1.0)`; a function of the coordinates by name that says which points of the
            boundary are meant, shape (m,); or points of shape (m, dimension).
        residual: `residual(x, u, xp)` or `residual(x, u, normal, xp)` with the coordinates, the partials and the
            components of the outward unit normal by name, arrays of shape (m,). It returns residuals of shape (m,), or
            a tuple of them, or one of all points of shape (1,). On a plane across the domain the normal points along
            the coordinate. It is written as `Problem.residuals` is, and run once to see which partials it reads.
        reads: the partials that it reads, where they cannot be found so.

    Raises:
        InputError: for another `where`.

    Example:
        >>> cooled = ResidualCondition(
        ...     "boundary", "boundary",
        ...     lambda x, u, normal, xp: u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + 0.5 * u["u"],
        ... )
        >>> cooled.partials
        ('u_x', 'u_y', 'u')
    """

    term: str
    where: str | tuple[str, float] | Part | ArrayLike
    residual: Residual
    reads: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self.at  # noqa: B018 - read where it is written

    @functools.cached_property
    def at(self) -> Where:
        """Where it holds."""
        return where_of(self.term, self.where)

    @functools.cached_property
    def partials(self) -> tuple[str, ...]:
        """The partials that the residual reads."""
        return self.reads or _partials_of(f"condition of term {self.term!r}", self._called)

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the coordinates and the components of the normals, shape (m,) each."""
        found = dict(coordinates)
        name, _ = self.at.face or ("", 0.0)
        if f"{NORMAL}{name}" in found:
            for key in [key for key in found if key.startswith(NORMAL)]:
                along = np.sign(found[key])
                found[key] = np.where(along == 0, 1.0, along) if key == f"{NORMAL}{name}" else 0.0 * along
        return found

    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the residuals, one after the other where there are several."""
        found = self._called(targets, partials, xp)
        points = next(iter(targets.values())).shape[0]
        if not isinstance(found, (tuple, list)):
            # its axes are looked at where it is used
            self._check_length(found, points)
            return found
        if not found:
            raise InputError(f"condition of term {self.term!r}", received="no residual", expected="one or several")
        return xp.concat([self._one_axis(residual, points, xp) for residual in found])

    @property
    def needs_normals(self) -> bool:
        """Whether the residual takes normals."""
        parameters = inspect.signature(self.residual).parameters.values()
        return sum(parameter.default is parameter.empty for parameter in parameters) > 3

    def _one_axis(self, residual: Any, points: Any, xp: ArrayNamespace) -> Array:
        """One of several residuals, checked, and a scalar at a single point as shape (1,)."""
        is_array, shape = hasattr(residual, "shape"), _shape_of(residual)
        if is_array and shape == () and points == 1:
            return xp.reshape(residual, (1,))
        if len(shape) != 1:
            raise self._misfit(f"shape {shape}" if is_array else described(residual), points)
        self._check_length(residual, points)
        return residual

    def _check_length(self, residual: Any, points: Any) -> None:
        shape = _shape_of(residual)
        if len(shape) == 1 and shape != (1,) and not _is_column(shape, points):
            raise self._misfit(f"shape {shape}", points)

    def _misfit(self, received: str, points: Any) -> InputError:
        return InputError(
            f"condition of term {self.term!r}: its residual",
            received=f"{received} at {points} points",
            expected=f"one value for each point, shape ({points},), or one of all of them, shape (1,)",
        )

    def _called(self, targets: Mapping[str, Array], partials: Mapping[str, Array], xp: ArrayNamespace) -> Any:
        if not self.needs_normals:
            return self.residual(targets, partials, xp)
        return self.residual(targets, partials, _Normals(targets), xp)


@final
@dataclass(frozen=True)
class Integral(Condition):
    """An integral over an interval of one coordinate or several that has a given value.

    Where coordinates are left, such as time, it holds at each of some of their values: a conserved quantity. The domain
    need be no box, but the intervals are to be inside of it as wholes, wherever any part of them is.

    Attributes:
        term: the loss term.
        over: the coordinates that are integrated over, each with its two bounds: `{"x": (0.0, 1.0)}`.
        integrand: `integrand(x, u, xp)` with the coordinates and the partials by name, arrays of shape (m,).
        value: of the integral: a number, or `value(coordinates)` of those that are left, shape (k,).
        nodes: of the Gauss-Legendre quadrature along each coordinate.
        reads: the partials that the integrand reads, where running it once does not show them.

    Raises:
        InputError: for no coordinates, bounds that do not ascend, or nodes that are no positive integer.

    Example:
        >>> mass = Integral("mass", {"x": (0.0, 1.0)}, lambda x, u, xp: u["u"], 1.0, nodes=8)
        >>> mass.sample(20, ["x", "t"], np.asarray([[0.0, 0.0], [1.0, 2.0]]), np.random.default_rng(0)).shape
        (24, 2)
    """

    term: str
    over: Mapping[str, tuple[float, float]]
    integrand: Residual
    value: float | Callable[[Mapping[str, Floats]], Floats] = 0.0
    nodes: int = 16
    reads: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, int) or isinstance(self.nodes, bool) or self.nodes < 1:
            raise InputError(
                f"nodes of an integral in term {self.term!r}", received=repr(self.nodes), expected="a positive integer"
            )
        check_intervals(self.term, self.over)

    @functools.cached_property
    def partials(self) -> tuple[str, ...]:
        """The partials that the integrand reads."""
        return self.reads or _partials_of(f"condition of term {self.term!r}", self.integrand)

    def sample(self, count: int, coordinates: Sequence[str], bounds: Floats, generator: np.random.Generator) -> Floats:
        """Return all nodes for each of some values of what is left, about `count` in all, shape (m, dimension)."""
        what = f"coordinates of an integral in term {self.term!r}"
        axes = [axis_of(what, name, coordinates) for name in self.over]
        for (name, given), own in zip(self.over.items(), bounds[:, axes].T, strict=True):
            if not is_within(given, own):
                raise InputError(
                    f"bounds of {name!r} of an integral in term {self.term!r}",
                    received=given,
                    expected=f"within those of the domain, [{own[0]:g}, {own[1]:g}]",
                )
        nodes, _ = self._quadrature()
        times = 1 if len(axes) == len(coordinates) else math.ceil(count / len(nodes))
        left = latin_hypercube(times, bounds, generator)
        points = np.repeat(left, len(nodes), axis=0)
        points[:, axes] = np.tile(nodes, (times, 1))
        return points

    def targets(self, coordinates: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the coordinates, the weights of the quadrature and the value of the integral, shape (m,) each."""
        count = len(next(iter(coordinates.values())))
        nodes, weights = self._quadrature()
        if count % self.group_size or not self._are_nodes(coordinates, nodes):
            raise InputError(
                f"points of an integral in term {self.term!r}",
                received=f"{count} points"
                if count % self.group_size
                else f"{count} points that are not its nodes in order",
                expected=f"a multiple of its {self.group_size} nodes, as sample() draws them",
            )
        first = {name: values[:: len(weights)] for name, values in coordinates.items()}
        wanted = self._values(first, count // len(weights))
        return {
            **coordinates,
            WEIGHT: np.tile(weights, count // len(weights)),
            VALUE: np.repeat(wanted / len(weights), len(weights)),
        }

    def residuals(self, partials: Mapping[str, Array], targets: Mapping[str, Array], xp: ArrayNamespace) -> Array:
        """Return the integrals less their values, shape (k,)."""
        weights = targets[WEIGHT]
        found, points = self.integrand(targets, partials, xp), weights.shape[0]
        shape = _shape_of(found)
        if hasattr(found, "shape") and shape == () and points == 1:
            found = xp.reshape(found, (1,))
        elif not _is_column(shape, points):
            raise InputError(
                f"integral in term {self.term!r}: its integrand",
                received=f"{f'shape {shape}' if hasattr(found, 'shape') else described(found)} at {points} points",
                expected=f"one value for each point, shape ({points},): they are summed here",
            )
        summands = weights * found - targets[VALUE]
        return xp.sum(xp.reshape(summands, (-1, self.group_size)), axis=1)

    def _values(self, left: Mapping[str, Floats], count: int) -> Floats:
        """The value of the integral at each of the values of what is left, shape (count,)."""
        what = f"value of an integral in term {self.term!r}"
        given: Any = evaluated(what, self.value, left) if callable(self.value) else self.value
        values = real_numbers(given)
        if values is None or values.shape not in ((), (count,)):
            raise InputError(
                what,
                received=shown(given),
                expected=f"a number, or shape ({count},): one for each value of the coordinates that are left",
                fix="Subtract a trained coefficient in the integrand, divided by the length of what is integrated over."
                if isinstance(given, Trained)
                else "",
            )
        return np.broadcast_to(values, (count,))

    def _are_nodes(self, coordinates: Mapping[str, Floats], nodes: Floats) -> bool:
        """Whether each group of points is the nodes at one value of what is left, up to the rounding of float32."""
        groups = {name: np.reshape(values, (-1, self.group_size)) for name, values in coordinates.items()}
        lengths = [high - low for low, high in self.over.values()]
        return all(
            np.allclose(groups[name], own, rtol=1e-5, atol=1e-5 * length)
            for name, own, length in zip(self.over, nodes.T, lengths, strict=True)
        ) and all((values == values[:, :1]).all() for name, values in groups.items() if name not in self.over)

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """The coordinates that are integrated over, with their bounds."""
        return self.over

    @property
    def group_size(self) -> int:
        """Number of nodes of one integral."""
        return int(self.nodes ** len(self.over))

    def _quadrature(self) -> tuple[Floats, Floats]:
        """Nodes of shape (m, axes) and their weights, shape (m,)."""
        unit, weights = np.polynomial.legendre.leggauss(self.nodes)
        bounds = np.asarray(list(self.over.values()), dtype=np.float64)
        half, middle = np.diff(bounds, axis=1)[:, 0] / 2, bounds.mean(axis=1)
        axes = [m + h * unit for m, h in zip(middle, half, strict=True)]
        each = [h * weights for h in half]
        product = np.prod(np.stack(np.meshgrid(*each, indexing="ij"), axis=-1), axis=-1).ravel()
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), product


@final
class _Normals(Mapping[str, Array]):
    """The components of the normals by coordinate, out of a condition's targets."""

    def __init__(self, targets: Mapping[str, Array]) -> None:
        self._targets = targets

    def __getitem__(self, name: str) -> Array:
        return self._targets[f"{NORMAL}{name}"]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(NORMAL) for name in self._targets if name.startswith(NORMAL))

    def __len__(self) -> int:
        return sum(name.startswith(NORMAL) for name in self._targets)


def _shape_of(residual: Any) -> tuple[Any, ...]:
    return tuple(getattr(residual, "shape", ()))


def _is_column(shape: tuple[Any, ...], points: Any) -> bool:
    """Whether a shape is that of one value for each point, as far as a graph knows its lengths yet."""
    is_known = len(shape) == 1 and isinstance(shape[0], int) and isinstance(points, int)
    return shape == (points,) if is_known else len(shape) == 1


@final
class _Anything(dict[str, StandIn]):
    """Coordinates and normals before it is known which there are."""

    def __missing__(self, name: str) -> StandIn:
        return StandIn(np.linspace(0.1, 0.9, POINTS))


def _partials_of(where: str, residual: Residual) -> tuple[str, ...]:
    partials = StandInPartials(where, None, (), {})
    try:
        with rehearsed():
            residual(_Anything(), partials, StandInNamespace())
    except PhasecoreError:
        raise
    except ValueNeededError as error:
        raise InputError(
            f"{where}: the partials that its residual reads cannot be found by running it once",
            received=str(error),
            expected="the same partials read whatever the values: values of stand-ins cannot be compared",
            fix='Choose values by xp.where(condition, one, other), or say what it reads: reads=("u", "u_x").',
        ) from None
    except Exception as error:
        raise InputError(
            f"{where}: its residual, run once to see what it reads",
            received=f"{type(error).__name__}: {error}",
            expected="ordinary arithmetic with the coordinates, the partials and the functions of xp",
            fix='Or say what it reads: reads=("u", "u_x").',
        ) from error
    if not partials.read:
        raise InputError(f"{where}: its residual", received="one that reads no partial", expected="one of the solution")
    return tuple(partials.read)
