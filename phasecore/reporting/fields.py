"""The figure of a run's snapshots: fields, errors, residuals and weights over the domain, one iteration at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasecore import registry
from phasecore.errors import InputError, PhasecoreError
from phasecore.problems import Problem
from phasecore.recording.folder import Run, snapshot_file
from phasecore.recording.own_problem import KEY
from phasecore.recording.provided import recorded_plugins
from phasecore.reporting.curves import plain_layout
from phasecore.reporting.palette import FAINT, INK
from phasecore.reporting.panels import NAMES, Curves, Panel, is_drawn, named, panels_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Heatmap, Scatter

COLUMNS = 4
"""Panels in a row."""


def fields_figure(run: Run) -> Figure | None:
    """Draw the snapshots of a run over its coordinates, chosen by a slider; None if there is nothing to draw.

    Each field, its error where the problem and so the reference solution is known, the absolute residual of each
    equation relative to its mean (the more uniform, the nearer to total diffusion) and the weights of points. Over one
    coordinate they are curves; over two maps, the residuals and weights averaged in cells of the domain; of three
    coordinates fields are drawn at some values of the third, and residuals and weights averaged over it.

    Args:
        run: as its folder holds it.
    """
    from plotly.subplots import make_subplots

    problem = problem_of(run.configuration)
    snapshots = {iteration: run.snapshot(iteration) for iteration in run.snapshots}
    # the evaluation grid is the same in all snapshots of a run
    grid = next((arrays["grid"] for arrays in snapshots.values() if "grid" in arrays), None)
    kept = {name: values for arrays in snapshots.values() for name, values in named(arrays)}
    if not kept and problem is not None and problem.has_reference and grid is not None and is_drawn(grid):
        kept = dict(problem.reference(grid))
    names = coordinates_of(run.configuration, problem)
    pages = {iteration: _panels(run, iteration, arrays, kept, names) for iteration, arrays in snapshots.items()}
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
            for trace in _traces(figure, panel, row, column, iteration == last):
                figure.add_trace(trace, row=row, col=column)
                owners.append(iteration)
            if isinstance(panel, Curves) and panel.logarithmic:
                figure.update_yaxes(type="log", row=row, col=column)
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
    figure.update_xaxes(title_text=names[0])
    if not any(isinstance(panel, Curves) for panel in pages[last]):
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
    return "pictures are made of one coordinate to three, and the snapshots have more"


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
    """Return the names of the coordinates of a run, as far as they are known.

    Example:
        >>> coordinates_of({"problem_source": {"coordinates": ["x", "t"]}}, None)
        ['x', 't']
    """
    if problem is not None:
        return problem.coordinates
    kept = (configuration.get(KEY) or {}).get("coordinates")
    return [str(name) for name in kept] if isinstance(kept, list) and 1 <= len(kept) <= 3 else NAMES


def _panels(
    run: Run,
    iteration: int,
    arrays: Mapping[str, NDArray[np.float64]],
    reference: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
) -> list[Panel | Curves]:
    try:
        return panels_of(arrays, reference, names)
    except (ValueError, IndexError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"cannot draw {snapshot_file(run.folder, iteration)}",
            received=str(error),
            expected="arrays of fields on a grid, and of residuals and weights at points",
            fix="Delete it to go on without it.",
        ) from None


def _traces(figure: Figure, panel: Panel | Curves, row: int, column: int, visible: bool) -> list[Heatmap | Scatter]:
    from plotly.graph_objects import Scatter

    if isinstance(panel, Panel):
        return [_heatmap(figure, panel, row, column, visible)]
    styles = ({"color": INK, "width": 1.5}, {"color": FAINT, "width": 1.5, "dash": "dash"})
    return [
        Scatter(x=panel.x, y=values, name=name, mode="lines", line=style, visible=visible, showlegend=False)
        for (name, values), style in zip(panel.lines.items(), styles, strict=False)
    ]


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
