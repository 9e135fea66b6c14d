"""The figure of a run's snapshots: fields, errors, residuals and weights over the domain, one iteration at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore import registry
from phasecore.errors import PhasecoreError
from phasecore.problems import Problem, relative_l2_error
from phasecore.recording.folder import Run
from phasecore.recording.own_problem import KEY, REFERENCE
from phasecore.recording.provided import recorded_plugins
from phasecore.reporting.curves import plain_layout

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Heatmap

Floats = NDArray[np.float64]

COLUMNS = 4
"""Panels in a row."""

MOST_CELLS = 128
"""Cells along each axis at most; of a finer grid every second, third, ... line is drawn."""

LEAST_SHARE = 0.1
"""Share of a grid's points that are there at least; fewer make no grid."""

POINTS_IN_CELL = 6
"""Collocation points in a cell of the residuals' and weights' panels, on average."""


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


def fields_figure(run: Run) -> Figure | None:
    """Draw the snapshots of a run over its two coordinates, chosen by a slider; None if there is nothing to draw.

    Each field, its error where the problem and so the reference solution is known, and, averaged in cells of the
    domain, the absolute residual of each equation relative to its mean (the more uniform, the nearer to total
    diffusion) and the weights of points.

    Args:
        run: as its folder holds it.
    """
    from plotly.subplots import make_subplots

    problem = problem_of(run.configuration)
    snapshots = {iteration: run.snapshot(iteration) for iteration in run.snapshots}
    # the evaluation grid is the same in all snapshots of a run
    grid = next((arrays["grid"] for arrays in snapshots.values() if "grid" in arrays), None)
    kept = {name: values for arrays in snapshots.values() for name, values in _named(arrays, REFERENCE)}
    if not kept and problem is not None and problem.has_reference and grid is not None and _is_plane(grid):
        kept = dict(problem.reference(grid))
    pages = {iteration: panels_of(arrays, kept) for iteration, arrays in snapshots.items()}
    pages = {iteration: panels for iteration, panels in pages.items() if panels}
    if not pages:
        return None
    count = max(len(panels) for panels in pages.values())
    rows, columns = math.ceil(count / COLUMNS), min(count, COLUMNS)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[" "] * count, horizontal_spacing=0.085, vertical_spacing=0.3 / rows
    )
    owners: list[int] = []
    last = max(pages)
    for iteration, panels in pages.items():
        for place, panel in enumerate(panels):
            row, column = place // columns + 1, place % columns + 1
            figure.add_trace(_heatmap(figure, panel, row, column, iteration == last), row=row, col=column)
            owners.append(iteration)
    blank = figure.to_dict()["layout"]["annotations"]
    titles = {iteration: _titled(blank, [panel.title for panel in panels]) for iteration, panels in pages.items()}
    steps = [
        {
            "label": str(iteration),
            "method": "update",
            "args": [{"visible": [owner == iteration for owner in owners]}, {"annotations": titles[iteration]}],
        }
        for iteration in pages
    ]
    names = coordinates_of(run.configuration, problem)
    figure.update_xaxes(title_text=names[0])
    figure.update_yaxes(title_text=names[1], title_standoff=0, col=1)
    plain_layout(figure, height=270 * rows + 140)
    figure.update_layout(
        annotations=titles[last],
        sliders=[
            {"active": len(steps) - 1, "currentvalue": {"prefix": "after iteration "}, "pad": {"t": 50}, "steps": steps}
        ],
    )
    return figure


def why_no_picture(run: Run) -> str:
    """Return why `fields_figure` draws nothing of a run.

    Args:
        run: as its folder holds it.
    """
    if not run.snapshots:
        return "no snapshot was saved: name the iterations after which one is wanted, snapshots=[1000]"
    return "pictures are made of two coordinates, and those of the snapshots are another number"


def problem_of(configuration: Mapping[str, Any]) -> Problem | None:
    """Return the problem that a run was trained on, or None if it has none or it is not registered here.

    Example:
        >>> problem_of({"problem": "helmholtz", "problem_parameters": {"a1": 2}}).a1
        2
        >>> problem_of({"problem": "one of another package"}) is problem_of({}) is None
        True
    """
    name = configuration.get("problem")
    providers = [item.get("distribution") for item in recorded_plugins(configuration) if item.get("kind") == "problem"]
    if not isinstance(name, str) or KEY in configuration or None in providers:
        return None
    try:
        return registry.problem(name, **(configuration.get("problem_parameters") or {}))
    except (PhasecoreError, TypeError, ValueError):
        return None


def coordinates_of(configuration: Mapping[str, Any], problem: Problem | None) -> Sequence[str]:
    """Return the names of the two coordinates of a run, as far as they are known.

    Example:
        >>> coordinates_of({"problem_source": {"coordinates": ["x", "t"]}}, None)
        ['x', 't']
    """
    if problem is not None:
        return problem.coordinates
    kept = (configuration.get(KEY) or {}).get("coordinates")
    return kept if isinstance(kept, list) and len(kept) == 2 else ("first coordinate", "second coordinate")


def panels_of(arrays: Mapping[str, Floats], reference: Mapping[str, Floats]) -> list[Panel]:
    """Return what a snapshot shows, panel by panel; nothing for other than two coordinates.

    Args:
        arrays: of the snapshot, by name.
        reference: the reference solution on the snapshot's grid, by field; those not in it have no error.
    """
    panels: list[Panel] = []
    grid, points = arrays.get("grid"), arrays.get("points")
    if grid is not None and _is_plane(grid):
        for name, values in _named(arrays, "field_"):
            exact = reference.get(name)
            style: dict[str, Any] = {"colorscale": "RdBu_r"}
            if exact is not None:
                style |= {"zmin": float(exact.min()), "zmax": float(exact.max())}
            panels.append(Panel(name, *on_grid(grid, values), style))
            if exact is not None:
                error = values - exact
                size = relative_l2_error({name: values}, {name: exact}) if exact.any() else math.inf
                title = f"error of {name}, relative L2 {size:.2g}"
                panels.append(Panel(title, *on_grid(grid, error), {"colorscale": "RdBu_r", "zmid": 0.0}))
    if points is not None and _is_plane(points):
        residuals = _named(arrays, "residual_")
        for term, values in residuals:
            mean = float(np.abs(values).mean())
            cells = in_cells(points, np.abs(values) / (mean or 1.0))
            ratio = np.log10(np.maximum(cells[2], 1e-3))
            panels.append(Panel(f"|residual| of {term} / its mean {mean:.2g}", *cells[:2], ratio, _RATIO))
        # those of conditions are at other points
        weights = [(term, values) for term, values in _named(arrays, "weight_") if term in dict(residuals)]
        for term, values in weights:
            title = f"weights of {term}, mean {values.mean():.2g}"
            panels.append(Panel(title, *in_cells(points, values), {"colorscale": "Viridis"}))
    return panels


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


def _is_plane(points: Floats) -> bool:
    return points.ndim == 2 and points.shape[1] == 2


def _named(arrays: Mapping[str, Floats], prefix: str) -> list[tuple[str, Floats]]:
    return [(name.removeprefix(prefix), values) for name, values in arrays.items() if name.startswith(prefix)]


def _heatmap(figure: Figure, panel: Panel, row: int, column: int, visible: bool) -> Heatmap:
    from plotly.graph_objects import Heatmap

    axes = figure.get_subplot(row, column)
    (_, right), (low, high) = axes.xaxis.domain, axes.yaxis.domain
    bar = {"x": right + 0.005, "xanchor": "left", "y": (low + high) / 2, "len": high - low, "thickness": 10}
    style = {**panel.style, "colorbar": {**bar, **panel.style.get("colorbar", {})}}
    return Heatmap(x=panel.x, y=panel.y, z=panel.values.astype(np.float32), visible=visible, **style)


def _titled(blank: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> list[dict[str, Any]]:
    padded = [*titles, *[" "] * (len(blank) - len(titles))]
    return [
        {**annotation, "text": title, "font": {"size": 11}} for annotation, title in zip(blank, padded, strict=True)
    ]
