"""A reference solution that is known at points: measured, or computed by another program."""

from __future__ import annotations

import csv
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from phasecore.errors import InputError
from phasecore.problems.rehearsal import fields_known

if TYPE_CHECKING:
    from phasecore.problems.base import Problem

Floats = NDArray[np.float64]

MOST_POINTS = 50_000
"""Points that are compared with at most; of more, that many, evenly chosen."""

_SHAPES = "coordinates and values as columns of one length, or the axes of a grid and values over it"


class Table(NamedTuple):
    """A reference solution at points.

    Attributes:
        points: shape (m, dimension), in the order of the problem's coordinates.
        fields: values of each field at them, shape (m,).
        axes: the axes of the grid that the points are, in that order, last axis fastest; empty where they are none.
    """

    points: Floats
    fields: Mapping[str, Floats]
    axes: tuple[Floats, ...]


@final
class ReferenceData:
    """Known values of the solution, as the `reference` of a problem.

    The relative L2 error is taken at these points as they are. Elsewhere the values are interpolated: by cubic splines
    on a grid of four lines or more along each axis, else linearly, and where scattered points do not surround a place,
    by the nearest of them. What is near is told by the extents of the domain, so that units are no matter. Of several
    values at one point their mean is taken, and a value at a single point is that everywhere.

    Args:
        source: a `.csv` file with a header, or a `.npz` file, with a column or array for each coordinate and each
            field by name; or points, shape (m, dimension). A relative path is looked for beside the file of the class,
            then in the working folder. A `.npz` file may hold the axes of a grid, shape (n_x,) and so on, and values
            over it, shape (n_x, n_t), in the order of the coordinates.
        values: with points: a mapping of field to values of shape (m,), or the values of the only field, or of all in
            the order of the outputs, shape (m, number of outputs).
        names: what columns or arrays are called, where they are called otherwise: {"u": "usol"}.

    Raises:
        InputError: when the problem first needs it: for a file that cannot be read, columns that are not there, values
            that are not finite, shapes that do not belong together, or points outside the domain.

    Example:
        >>> import phasecore
        >>> class Decay(phasecore.Problem):
        ...     domain = {"t": (0, 1)}
        ...     outputs = ("u",)
        ...     reference = phasecore.ReferenceData([[0.0], [1.0]], [1.0, 0.368])
        ...     def residuals(self, x, u, xp):
        ...         return u["u_t"] + u["u"]
        >>> round(float(Decay().reference([[0.5]])["u"][0]), 3)
        0.684
    """

    def __init__(
        self,
        source: str | Path | ArrayLike,
        values: Mapping[str, ArrayLike] | ArrayLike | None = None,
        *,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._file = Path(source) if isinstance(source, (str, Path)) else None
        if (self._file is None) == (values is None):
            raise InputError(
                "reference data",
                received="points without values" if values is None else "a file and values beside it",
                expected="a file, or points and their values",
            )
        self._given = None if self._file is not None else (source, values)
        self._names = dict(names or {})
        self._folder: Path | None = None
        self._tables: dict[tuple[Any, ...], Table] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        try:
            self._folder = Path(inspect.getfile(owner)).resolve().parent
        except (TypeError, OSError):
            self._folder = None

    def __get__(self, problem: Problem | None, owner: type) -> Any:
        return self if problem is None else functools.partial(self.at, problem)

    def at(self, problem: Problem, points: ArrayLike) -> dict[str, Floats]:
        """Return each field at points of shape (m, dimension), interpolated, shape (m,).

        Raises:
            InputError: for points outside the domain, and as the class says.
        """
        wanted, table = problem.check_points(points), self.table(problem)
        bounds = problem.bounds
        return {name: _interpolated(table, values, wanted, bounds) for name, values in table.fields.items()}

    def table(self, problem: Problem) -> Table:
        """Return the points, in the problem's domain, with the values there.

        Raises:
            InputError: as the class says.
        """
        key = (problem.name, tuple(problem.coordinates), tuple(problem.outputs), problem.bounds.tobytes())
        if key not in self._tables:
            self._tables[key] = self._read(problem)
        return self._tables[key]

    def compared(self, problem: Problem) -> tuple[Floats, dict[str, Floats]]:
        """Return the points at which the error is taken, shape (m, dimension), with the values there, shape (m,)."""
        table = self.table(problem)
        count = len(table.points)
        chosen = np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int)
        return table.points[chosen], {name: values[chosen] for name, values in table.fields.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}

    def _read(self, problem: Problem) -> Table:
        what = f"reference of problem {problem.name!r}"
        if self._file is None:
            points, values = self._given or ((), ())
            arrays = _of_arrays(what, problem, points, values)
        else:
            file = self._found(what, self._file)
            what = f"{what}, {file}"
            arrays = _of_file(what, file)
        known = fields_known(problem)
        called = {name: self._names.get(name, name) for name in (*problem.coordinates, *known, *self._names)}
        missing = [called[name] for name in problem.coordinates if called[name] not in arrays]
        names = [name for name in called if name not in problem.coordinates and called[name] in arrays]
        if missing or not names:
            wanted = missing or [called[name] for name in known]
            raise InputError(
                what,
                received=f"columns {list(arrays)}",
                expected=f"{' and '.join(map(repr, wanted))} too: a column for each coordinate and each field, by name",
                fix='Call a column by another name with names={"u": "its name"}.',
            )
        for name in (*problem.coordinates, *names):
            _check_finite(f"{what}: {called[name]!r}", arrays[called[name]])
        axes = [arrays[called[name]].astype(np.float64) for name in problem.coordinates]
        return _table(what, problem, axes, {name: arrays[called[name]].astype(np.float64) for name in names})

    def _found(self, what: str, file: Path) -> Path:
        places = [file] if file.is_absolute() or self._folder is None else [self._folder / file, file]
        for place in places:
            if place.is_file():
                return place
        near = sorted(other.name for other in places[0].parent.glob(f"*{file.suffix}"))
        raise InputError(
            what,
            received=f"no file at {' or '.join(map(str, places))}",
            expected="a .csv or .npz file",
            fix=f"There are: {', '.join(near)}." if near else "",
        )


def _of_file(what: str, file: Path) -> dict[str, NDArray[Any]]:
    if file.suffix not in (".csv", ".npz"):
        raise InputError(what, received=f"a file {file.suffix or 'without an ending'}", expected="a .csv or .npz file")
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return {name: np.squeeze(arrays[name]) if arrays[name].ndim > 1 else arrays[name] for name in arrays}
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream) if line]
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise InputError(what, received=f"{type(error).__name__}: {error}", expected="a readable file") from None
    if len(lines) < 2:
        raise InputError(what, received=f"{len(lines)} lines", expected="a header, and a row for each point")
    header, columns = [name.strip() for name in lines[0]], []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise InputError(f"{what}, row {number}", received=f"{len(line)} cells", expected=f"{len(header)}")
        try:
            columns.append([float(cell) for cell in line])
        except ValueError:
            odd = next(cell for cell in line if not _is_float(cell))
            raise InputError(f"{what}, row {number}", received=repr(odd), expected="a number") from None
    return dict(zip(header, np.asarray(columns).T, strict=True))


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_arrays(what: str, problem: Problem, points: Any, values: Any) -> dict[str, NDArray[Any]]:
    at = problem.check_points(points, "points of the reference")
    names = fields_known(problem)
    if not isinstance(values, Mapping):
        given = np.asarray(values)
        columns = given.reshape(len(given), -1).T if given.ndim in (1, 2) else given
        if given.ndim not in (1, 2) or len(columns) != len(names):
            raise InputError(
                f"{what}: values",
                received=f"shape {given.shape}",
                expected=f"one value of each of {list(names)} for each of {len(at)} points, or a mapping",
            )
        values = dict(zip(names, columns, strict=True))
    fields = {name: np.asarray(own) for name, own in values.items()}
    return {**{name: at[:, axis] for axis, name in enumerate(problem.coordinates)}, **fields}


def _check_finite(what: str, values: NDArray[Any]) -> None:
    if values.dtype.kind not in "fiu":
        raise InputError(what, received=f"dtype {values.dtype}", expected="real numbers")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise InputError(what, received=f"{count} values that are not finite", expected="finite numbers")


def _table(what: str, problem: Problem, axes: Sequence[Floats], fields: Mapping[str, Floats]) -> Table:
    shapes = {name: values.shape for name, values in fields.items()}
    lengths = tuple(axis.size for axis in axes)
    found = f"coordinates of shapes {[axis.shape for axis in axes]}, values of {shapes}"
    if len(axes) > 1 and all(axis.ndim == 1 for axis in axes) and set(shapes.values()) == {lengths}:
        if any(not (np.diff(axis) > 0).all() for axis in axes):
            raise InputError(what, received="an axis that does not ascend", expected="axes of a grid that ascend")
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    elif {axis.shape for axis in axes} == set(shapes.values()):
        points = np.stack([axis.ravel() for axis in axes], axis=-1)
    else:
        raise InputError(what, received=found, expected=_SHAPES)
    points = problem.check_points(points, "points of the reference")
    flat = {name: values.ravel() for name, values in fields.items()}
    return _in_order(points, flat)


def _in_order(points: Floats, fields: Mapping[str, Floats]) -> Table:
    """The points as a grid where they are one, in whatever order they are given."""
    axes = tuple(np.unique(column) for column in points.T)
    if math.prod(axis.size for axis in axes) != len(points) or min(axis.size for axis in axes) < 2:
        return Table(points, fields, ())
    order = np.lexsort(points.T[::-1])
    points = points[order]
    if not np.array_equal(points, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(points.shape)):
        return Table(points, {name: values[order] for name, values in fields.items()}, ())
    return Table(points, {name: values[order] for name, values in fields.items()}, axes)


def _interpolated(table: Table, values: Floats, wanted: Floats, bounds: Floats) -> Floats:
    """Interpolate one field, shape (m,).

    Args:
        table: where it is known.
        values: there, shape (n,).
        wanted: points, shape (m, dimension).
        bounds: of the domain, shape (2, dimension): what is near is no matter of units.
    """
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

    if not table.axes:
        table = _each_once(table.points, values)
        values = table.fields[""]
    if table.axes:
        return _by_splines(table.axes, values.reshape([axis.size for axis in table.axes]), wanted)
    if len(values) == 1:
        return np.full(len(wanted), values[0])
    points, wanted = ((given - bounds[0]) / (bounds[1] - bounds[0]) for given in (table.points, wanted))
    nearest = NearestNDInterpolator(points, values)
    if len(points) <= wanted.shape[1] + 1:
        return np.asarray(nearest(wanted))
    try:
        found = np.asarray(LinearNDInterpolator(points, values)(wanted))
    except Exception:  # points on a line or a plane surround nothing
        return np.asarray(nearest(wanted))
    return np.where(np.isnan(found), nearest(wanted), found)


def _each_once(points: Floats, values: Floats) -> Table:
    """The points without repetition, and the mean of what is known at each, under no name."""
    places, rows, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    if len(places) == len(points):
        return Table(points, {"": values}, ())
    return _in_order(places, {"": np.bincount(np.ravel(rows), weights=values) / counts})


def _by_splines(axes: Sequence[Floats], values: Floats, wanted: Floats) -> Floats:
    """Interpolate on a grid by products of cubic splines, of lines along an axis of fewer than four points."""
    from scipy.interpolate import NdBSpline, make_interp_spline

    knots, degrees, coefficients = [], [], values
    for place, axis in enumerate(axes):
        degrees.append(3 if axis.size >= 4 else 1)
        spline = make_interp_spline(axis, np.moveaxis(coefficients, place, 0), k=degrees[-1])
        knots.append(spline.t)
        coefficients = np.moveaxis(spline.c, 0, place)
    # the nearest place of the grid where the domain goes beyond it
    inside = np.stack(
        [np.clip(column, axis[0], axis[-1]) for column, axis in zip(wanted.T, axes, strict=True)], axis=-1
    )
    product: Any = NdBSpline(tuple(knots), coefficients, tuple(degrees))
    return np.asarray(product(inside), dtype=np.float64)
