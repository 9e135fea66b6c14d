"""The figures of histories: phases as bars, the main quantities below them, and everything recorded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, cycle, islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.phases import Curve, Phase
from phasecore.reporting.coefficients import coefficient_panels
from phasecore.reporting.histories import alone, curve_of, on_scale, running_median, thinned_curve
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, PHASE_NAMES, SHADE
from phasecore.reporting.reported import Reported
from phasecore.reporting.seeds import median_curve
from phasecore.reporting.timeline_figure import PANELS, captured

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Floats = NDArray[np.float64]
T = TypeVar("T")

RUN_COLOURS = (INK, "#d55e00", "#cc79a7", "#56b4e9", "#7f6a00")
"""Colours of runs, from Okabe and Ito's palette, none of them that of a phase."""

DASHES = ("solid", "dash", "dot")

MOST_DRAWN = 2000
"""Captures of a run that are drawn at most, evenly over the logarithm of the iterations."""

DOT = 3
"""Size of a dot where a number stands alone between two gaps."""

CLOCKS = {"seconds", "learning_rate"}
"""Columns that say when, not what: last in the menu."""

NOT_KNOWN = "#d5dadf"
"""Colour of a bar where the phase is not known."""

BAR = 26
"""Height of a run's bar of phases, in pixels."""


def styles(count: int) -> list[tuple[str, str]]:
    """Return a colour and a dash for each of some runs.

    Example:
        >>> styles(6)[0] == styles(6)[5], len(set(styles(15)))
        (False, 15)
    """
    pairs = [(colour, dash) for dash in DASHES for colour in RUN_COLOURS]
    return list(islice(cycle(pairs), count))


def curves_figure(reported: Sequence[Reported]) -> Figure:
    """Draw the phases of each run as a bar, and below them the main quantities over the iterations.

    Runs that differ by their seed alone are thin lines, with the median of those that were trained to the end. The
    phases of a single run are shaded behind its curves too. Captures before the first iteration are left out.

    Args:
        reported: the runs, at least one.
    """
    from plotly.subplots import make_subplots

    recorded = [_quantities(item) for item in reported]
    trained = coefficient_panels([item.run.history for item in reported])
    panels = [panel for panel in (*PANELS, *trained) if any(panel[0] in quantities for quantities in recorded)]
    heights = [BAR * len(reported) + 10, *(250 if place == 0 else 170 for place in range(len(panels)))]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=18 / (sum(heights) * 1.1)
    )
    for item in reported:
        _draw_phases(figure, item)
    groups = grouped(reported, list(zip(reported, recorded, strict=True)))
    for (colour, dash), (label, members) in zip(styles(len(groups)), groups.items(), strict=True):
        is_first = True
        for row, (name, _, scale) in enumerate(panels, start=2):
            curves = [quantities[name] for _, quantities in members if name in quantities]
            if len(members) == 1 and curves:
                _draw_curve(figure, row, label, *curves[0], scale, colour, dash, is_first)
            elif curves:
                whole = [item.is_complete for item, quantities in members if name in quantities]
                _draw_median(figure, row, label, curves, whole, scale, colour, dash, is_first)
            is_first = is_first and not curves
    for row, (name, label, scale) in enumerate(panels, start=2):
        together = [quantities[name][1] for quantities in recorded if name in quantities]
        figure.update_yaxes(title_text=label, row=row, col=1, **_axis(np.concatenate(together), scale == "log"))
        if len(reported) == 1:
            for phase, first, end in reported[0].timeline.spans(reported[0].last_iteration):
                figure.add_vrect(
                    x0=max(first, 1), x1=max(end, 1), fillcolor=PHASE_COLOURS[phase], opacity=SHADE, line_width=0,
                    layer="below", row=row, col=1,
                )  # fmt: skip
    _mark_actions(figure, reported, rows=len(panels))
    figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    figure.update_xaxes(title_text="iteration", row=len(heights), col=1)
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    plain_layout(figure, height=sum(heights) + 140)
    return figure


def grouped(reported: Sequence[Reported], items: Sequence[T]) -> dict[str, list[T]]:
    """Return what belongs to the runs of each group, in the order in which groups come first.

    Args:
        reported: the runs.
        items: one for each.
    """
    found: dict[str, list[T]] = {}
    for run, item in zip(reported, items, strict=True):
        found.setdefault(run.weighting, []).append(item)
    return found


def recorded_figure(reported: Sequence[Reported]) -> Figure | None:
    """Draw any recorded column of all runs, chosen from a menu; None if nothing was recorded.

    Args:
        reported: the runs.
    """
    from plotly.graph_objects import Figure, Scatter

    histories = [item.run.history for item in reported]
    shown_above = {name for name, _, _ in PANELS}
    names = [name for name in dict.fromkeys(name for columns in histories for name in columns) if name != "iteration"]
    names.sort(key=lambda name: (name in CLOCKS, name in shown_above))
    figure = Figure()
    owners: list[str] = []
    axes: dict[str, dict[str, Any]] = {}
    for name in names:
        together: list[Floats] = []
        for (colour, dash), item in zip(_styles_of(reported), reported, strict=True):
            if name not in item.run.history:
                continue
            iteration, values = thinned_curve(*curve_of(item.run.recorded, name), MOST_DRAWN)
            if not values.size:
                continue
            together.append(values[np.isfinite(values)])
            style = {"color": colour, "dash": dash, "width": 1.3}
            shown = not owners or owners[0] == name
            line: dict[str, Any] = {"line": style, "visible": shown, "showlegend": True}
            figure.add_trace(Scatter(**_line(iteration, values), name=item.label, **line))
            owners.append(name)
        if together:
            values = np.concatenate(together)
            axes[name] = _axis(values, bool(values.min() > 0 and values.max() > 30 * values.min()))
    if not owners:
        return None
    buttons = [
        {
            "label": name,
            "method": "update",
            "args": [
                {"visible": [owner == name for owner in owners]},
                {f"yaxis.{key}": value for key, value in {"title.text": name, **axes[name]}.items()},
            ],
        }
        for name in dict.fromkeys(owners)
    ]
    figure.update_xaxes(type="log", dtick=1, exponentformat="power", title_text="iteration")
    figure.update_yaxes(title_text=owners[0], **axes[owners[0]])
    plain_layout(figure, height=440)
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(updatemenus=[menu], legend={"x": 1, "xanchor": "right"}, margin={"t": 80})
    return figure


def plain_layout(figure: Figure, *, height: int) -> None:
    """Give a figure the look that all figures of a report share.

    Args:
        figure: changed in place.
        height: in pixels.
    """
    figure.update_layout(
        height=height, template="plotly_white", font={"color": INK, "size": 12}, hovermode="closest",
        margin={"l": 80, "r": 20, "t": 60, "b": 50}, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )  # fmt: skip
    figure.update_xaxes(showline=True, linecolor=FAINT, ticks="outside")
    figure.update_yaxes(exponentformat="power", zeroline=False)


def _draw_phases(figure: Figure, item: Reported) -> None:
    from plotly.graph_objects import Scatter

    last = max(item.last_iteration, 1)
    spans: list[tuple[Phase | None, int, int]] = [*item.timeline.spans(last)]
    begin = spans[0][1] if spans else last
    if begin > 1:
        spans.insert(0, (None, 1, begin))
    for phase, first, end in spans:
        name = "not known" if phase is None else PHASE_NAMES[phase]
        figure.add_trace(
            Scatter(
                x=[max(first, 1), max(end, 1)], y=[item.label] * 2, mode="lines", name=name, showlegend=False,
                line={"color": NOT_KNOWN if phase is None else PHASE_COLOURS[phase], "width": BAR - 8},
                hovertemplate=f"{name}: iteration {first} to {end}<extra>%{{y}}</extra>",
            ),
            row=1, col=1,
        )  # fmt: skip


def _mark_actions(figure: Figure, reported: Sequence[Reported], rows: int) -> None:
    """Mark on the bar of each run where policies acted, and through the curves of a single run."""
    from plotly.graph_objects import Scatter

    for item in (item for item in reported if item.run.actions):
        when = [max(acted.iteration, 1) for acted in item.run.actions]
        said = [f"{acted.words}: {acted.reason}" for acted in item.run.actions]
        figure.add_trace(
            Scatter(
                x=when, y=[item.label] * len(when), mode="markers", name="policy", showlegend=False, customdata=said,
                marker={"symbol": "diamond", "size": 10, "color": INK, "line": {"color": "white", "width": 1}},
                hovertemplate="iteration %{x}: %{customdata}<extra>%{y}</extra>",
            ),
            row=1, col=1,
        )  # fmt: skip
        if len(reported) == 1:
            for row in range(2, rows + 2):
                for iteration in dict.fromkeys(when):
                    figure.add_vline(x=iteration, line={"color": INK, "width": 1, "dash": "dot"}, row=row, col=1)


def _draw_curve(
    figure: Figure, row: int, label: str, iteration: Floats, values: Floats, scale: str, colour: str, dash: str,
    legend: bool,
) -> None:  # fmt: skip
    """Draw what was recorded faintly, and its running median over it."""
    from plotly.graph_objects import Scatter

    iteration, values = thinned_curve(iteration, values, MOST_DRAWN)
    common: dict[str, Any] = {"x": iteration, "legendgroup": label, "name": label}
    figure.add_trace(
        Scatter(**common, y=on_scale(values, scale), mode="markers", showlegend=False, hoverinfo="skip",
                marker={"color": colour, "size": 3, "opacity": 0.25}),
        row=row, col=1,
    )  # fmt: skip
    figure.add_trace(
        Scatter(**common, y=on_scale(running_median(iteration, values), scale), mode="lines", showlegend=legend,
                line={"color": colour, "dash": dash, "width": 1.8}),
        row=row, col=1,
    )  # fmt: skip


def _draw_median(
    figure: Figure, row: int, label: str, curves: Sequence[tuple[Floats, Floats]], whole: Sequence[bool], scale: str,
    colour: str, dash: str, legend: bool,
) -> None:  # fmt: skip
    """Draw the running median of each curve as a thin line, and the median of those of whole trainings."""
    from plotly.graph_objects import Scatter

    thin = [thinned_curve(*curve, MOST_DRAWN) for curve in curves]
    smooth = [(iteration, running_median(iteration, values)) for iteration, values in thin]
    median = thinned_curve(*median_curve(list(compress(smooth, whole))), MOST_DRAWN)
    drawn = [*((curve, 0.8, 0.35) for curve in smooth), *([(median, 2.6, 1.0)] if median[0].size else [])]
    for place, ((iteration, values), width, opacity) in enumerate(drawn, start=1):
        is_median = opacity == 1.0
        figure.add_trace(
            Scatter(**_line(iteration, on_scale(values, scale), colour), name=label, legendgroup=label, opacity=opacity,
                    showlegend=legend and place == len(drawn), hoverinfo="all" if is_median else "skip",
                    line={"color": colour, "dash": dash if is_median else "solid", "width": width}),
            row=row, col=1,
        )  # fmt: skip


def _styles_of(reported: Sequence[Reported]) -> list[tuple[str, str]]:
    """Return a colour and a dash for each run: those of its group."""
    groups = list(dict.fromkeys(item.weighting for item in reported))
    own = dict(zip(groups, styles(len(groups)), strict=True))
    return [own[item.weighting] for item in reported]


def _quantities(item: Reported) -> dict[str, tuple[Floats, Floats]]:
    """The main quantities that a run has recorded: iterations and values of each."""
    if not item.run.history:
        return {}
    try:
        curve = Curve.from_columns(item.run.recorded)
        found = {name: captured(curve, name) for name, _, _ in PANELS}
    except InputError:  # no curve in which phases could be looked for: the timeline says why
        found = {name: curve_of(item.run.recorded, name) for name, _, _ in PANELS}
    trained = coefficient_panels([item.run.history])
    found |= {panel.column: curve_of(item.run.recorded, panel.column) for panel in trained}
    return {name: recorded for name, recorded in found.items() if np.isfinite(recorded[1]).any()}


def _line(iteration: Floats, values: Floats, colour: str | None = None) -> dict[str, Any]:
    """Return what of a trace is its line: with gaps, and a dot where a number stands alone."""
    dots = alone(values)
    size = np.zeros(values.shape)
    size[dots] = DOT
    marker = {"mode": "lines+markers", "marker": {"size": size, "color": colour}} if dots.size else {"mode": "lines"}
    return {"x": iteration, "y": values, **marker}


def _axis(values: Floats, logarithmic: bool) -> dict[str, Any]:
    """Return an axis' scale, and ticks at powers of ten, or at 1, 2 and 5 times those if there would be few."""
    if not logarithmic:
        return {"type": "linear", "dtick": None}
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > 300 * values.min()
    return {"type": "log", "dtick": 1 if wide else "D2"}
