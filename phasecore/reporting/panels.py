"""What a snapshot shows, panel by panel: curves over one coordinate, maps over two, slices through three."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.problems import relative_l2_error
from phasecore.recording.own_problem import REFERENCE

Floats = NDArray[np.float64]

NAMES = ("first coordinate", "second coordinate", "third coordinate")
"""What coordinates are called that are not known."""

MOST_CELLS = 128
"""Cells along each axis at most; of a finer grid every second, third, ... line is drawn."""

LEAST_SHARE = 0.1
"""Share of a grid's points that are there at least; fewer make no grid."""

POINTS_IN_CELL = 6
"""Collocation points in a cell of the residuals' and weights' panels, on average."""


SLICES = 3
"""Values of the third coordinate at which fields are drawn: from its lower to its upper bound."""


@final
@dataclass(frozen=True)
class Panel:
    """What one panel shows at one iteration.

    Attributes:
        title: above it.
        x: along the first coordinate, shape (columns,).
        y: along the second one, shape (rows,).
        values: shape (rows, columns); NaN where nothing is known.
        style: colours and range, as plotly's heatmap takes them.
    """

    title: str
    x: Floats
    y: Floats
    values: Floats
    style: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Curves:
    """What one panel shows at one iteration over a single coordinate.

    Attributes:
        title: above it.
        x: along the coordinate, ascending, shape (n,).
        lines: by name, shape (n,) each; the second one, if any, is drawn dashed.
        logarithmic: whether the axis of values is.
    """

    title: str
    x: Floats
    lines: Mapping[str, Floats]
    logarithmic: bool = False


def panels_of(
    arrays: Mapping[str, Floats], reference: Mapping[str, Floats], names: Sequence[str] = NAMES
) -> list[Panel | Curves]:
    """Return what a snapshot shows, panel by panel; nothing for more than three coordinates.

    Args:
        arrays: of the snapshot, by name.
        reference: the reference solution on the snapshot's grid, by field; those not in it have no error.
        names: of the coordinates.

    Example:
        >>> grid = np.linspace(0, 1, 5)[:, None]
        >>> [panel.title for panel in panels_of({"grid": grid, "field_u": grid[:, 0]}, {"u": grid[:, 0] + 0.1})]
        ['u, its reference dashed', 'error of u, relative L2 0.14']
    """
    grid, points = arrays.get("grid"), arrays.get("points")
    panels: list[Panel | Curves] = []
    if is_drawn(grid):
        assert grid is not None
        for name, values in named(arrays, "field_"):
            exact = reference.get(name)
            if grid.shape[1] == 1:
                panels += _field_on_line(name, grid, values, exact)
            elif grid.shape[1] == 2:
                panels += _field_on_plane(name, grid, values, exact, exact)
            else:
                for at, own in _slices(grid):
                    known = None if exact is None else exact[own]
                    panels += _field_on_plane(f"{name} at {names[2]} = {at:.3g}", grid[own], values[own], known, exact)
    if is_drawn(points):
        assert points is not None
        along = f", over all {names[2]}" if points.shape[1] == 3 else ""
        residuals = named(arrays, "residual_")
        for term, values in residuals:
            mean = float(np.abs(values).mean())
            title = f"|residual| of {term} / its mean {mean:.2g}{along}"
            panels.append(_ratio(title, points, np.abs(values) / (mean or 1.0)))
        # those of conditions are at other points
        for term, values in named(arrays, "weight_"):
            if term in dict(residuals):
                panels.append(_weights(f"weights of {term}, mean {values.mean():.2g}{along}", points, values))
    return panels


def is_drawn(points: Floats | None) -> bool:
    """Return whether points have one coordinate, two or three.

    Example:
        >>> is_drawn(np.zeros((5, 3))), is_drawn(np.zeros((5, 4))), is_drawn(None)
        (True, False, False)
    """
    return points is not None and points.ndim == 2 and 1 <= points.shape[1] <= 3


def named(arrays: Mapping[str, Floats], prefix: str = REFERENCE) -> list[tuple[str, Floats]]:
    """Return the arrays whose names begin so, by the rest of their names.

    Example:
        >>> named({"field_u": np.zeros(2), "grid": np.zeros((2, 1))}, "field_")
        [('u', array([0., 0.]))]
    """
    return [(name.removeprefix(prefix), values) for name, values in arrays.items() if name.startswith(prefix)]


_RATIO = {
    "colorscale": "RdBu_r", "zmin": -1.0, "zmax": 1.0,
    "colorbar": {"tickvals": [-1.0, -0.5, 0.0, 0.5, 1.0], "ticktext": ["0.1", "0.3", "1", "3", "10"]},
}  # fmt: skip


def on_grid(grid: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the two axes of a grid and the values over them.

    Args:
        grid: every combination of two axes, in any order, shape (m, 2).
        values: shape (m,).

    Returns:
        Axes of shapes (columns,) and (rows,), and values of shape (rows, columns), NaN where the grid has no point, as
        outside of a domain that is no box; averages in cells if the points make no grid.

    Example:
        >>> grid = np.asarray([[0.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.5, 1.0]])
        >>> on_grid(grid, np.asarray([1.0, 2.0, 3.0, 4.0]))[2].tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    x, y = np.unique(grid[:, 0]), np.unique(grid[:, 1])
    if x.size * y.size > LEAST_SHARE**-1 * len(grid):
        return in_cells(grid, values)
    table = np.full((y.size, x.size), np.nan)
    table[np.searchsorted(y, grid[:, 1]), np.searchsorted(x, grid[:, 0])] = values
    every_x, every_y = (math.ceil(axis.size / MOST_CELLS) for axis in (x, y))
    return x[::every_x], y[::every_y], table[::every_y, ::every_x]


def in_cells(points: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the centres of cells along both axes and the mean of the values in each cell.

    Args:
        points: shape (n, 2).
        values: shape (n,).

    Example:
        >>> points = np.asarray([[0.0, 0.0], [1.0, 1.0]])
        >>> in_cells(points, np.asarray([1.0, 3.0]))[2].tolist()
        [[2.0]]
    """
    cells = int(min(max(math.sqrt(len(points) / POINTS_IN_CELL), 1), MOST_CELLS))
    count, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=cells)
    total, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(x, y), weights=values)
    mean = np.full(count.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2, mean.T


def _slices(grid: Floats) -> list[tuple[float, NDArray[np.bool_]]]:
    """Some values of the third coordinate, and which points of a grid have it."""
    axis = np.unique(grid[:, 2])
    chosen = axis[np.unique(np.linspace(0, axis.size - 1, SLICES).round().astype(int))]
    return [(float(value), grid[:, 2] == value) for value in chosen]


def _field_on_line(name: str, grid: Floats, values: Floats, exact: Floats | None) -> list[Panel | Curves]:
    order = np.argsort(grid[:, 0], kind="stable")
    x = grid[order, 0]
    if exact is None:
        return [Curves(name, x, {name: values[order]})]
    lines = {name: values[order], "reference": exact[order]}
    error = Curves(f"error of {name}, {_size(name, values, exact)}", x, {"error": (values - exact)[order]})
    return [Curves(f"{name}, its reference dashed", x, lines), error]


def _field_on_plane(
    name: str, grid: Floats, values: Floats, exact: Floats | None, everywhere: Floats | None
) -> list[Panel | Curves]:
    """A field over the first two coordinates, and its error; the colours are those of the whole reference."""
    style: dict[str, Any] = {"colorscale": "RdBu_r"}
    if exact is None or everywhere is None:
        return [Panel(name, *on_grid(grid[:, :2], values), style)]
    style |= {"zmin": float(everywhere.min()), "zmax": float(everywhere.max())}
    field = Panel(name, *on_grid(grid[:, :2], values), style)
    error = on_grid(grid[:, :2], values - exact)
    title = f"error of {name}, {_size(name, values, exact)}"
    return [field, Panel(title, *error, {"colorscale": "RdBu_r", "zmid": 0.0})]


def _size(name: str, values: Floats, exact: Floats) -> str:
    size = relative_l2_error({name: values}, {name: exact}) if exact.any() else math.inf
    return f"relative L2 {size:.2g}"


def _ratio(title: str, points: Floats, ratio: Floats) -> Panel | Curves:
    if points.shape[1] == 1:
        order = np.argsort(points[:, 0], kind="stable")
        return Curves(title, points[order, 0], {"ratio": np.maximum(ratio[order], 1e-6)}, logarithmic=True)
    x, y, cells = in_cells(points[:, :2], ratio)
    return Panel(title, x, y, np.log10(np.maximum(cells, 1e-3)), _RATIO)


def _weights(title: str, points: Floats, values: Floats) -> Panel | Curves:
    if points.shape[1] == 1:
        order = np.argsort(points[:, 0], kind="stable")
        return Curves(title, points[order, 0], {"weight": values[order]})
    return Panel(title, *in_cells(points[:, :2], values), {"colorscale": "Viridis"})
