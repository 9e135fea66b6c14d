"""The figure of a comparison: SNR, test error and residual order, a column of panels for each weighting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasecore.files import replacing
from phasecore.reporting.coefficients import Panel, coefficient_panels
from phasecore.reporting.comparison import Compared
from phasecore.reporting.comparison_labels import ERROR, Column, acted_alone, labels_above, of_few, write_labels
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.histories import alone, on_scale, running_median
from phasecore.reporting.marks import heading_lines
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, SHADE
from phasecore.reporting.seeds import Group, Spread, median_curve
from phasecore.reporting.wording import grouped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = (
    ("snr", "gradient SNR\n(high: batches agree)", "log"),
    (ERROR, "relative L2 test error\n(0: the exact solution)", "log"),
    ("residual_order", "residual order\n(1: equally large everywhere)", "linear"),
)
"""Column of the history, label and scale of each row of panels; those of trained coefficients follow."""

ABREAST = 4
"""Runs side by side at most."""

HEADING = 0.22
"""Height of a further line of the headings, in inches."""

NARROWEST = 0.1
"""Least height of a linear scale, so that what hardly changes looks it."""


def check_matplotlib() -> None:
    """Refuse to begin what ends in a figure if none can be drawn.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    check_installed("matplotlib", "the figure of a comparison")


def draw_comparison(runs: Sequence[Compared], file: Path) -> None:
    """Draw the histories of several runs, a column for each weighting, and save the figure.

    Runs of one weighting, each of another seed, are thin lines in one column, with their median; a phase begins there
    at the median of its beginnings, their range is shaded. Iterations are on a logarithmic axis, so the capture before
    the first iteration is left out. The scale of each quantity is the same for all, and that of the iterations is as
    long as the longest run. What no run has recorded has no panels. Many weightings stand in several
    bands, one below the other.

    Args:
        runs: at least one, in order of the columns.
        file: where to save it; the suffix says the format.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = [[run for run in runs if run.weighting == one] for one in dict.fromkeys(run.weighting for run in runs)]
    always = [Panel(*row) for row in ROWS]
    rows = [row for row in always if any(_has(run, row.column) for run in runs)] or always
    rows += coefficient_panels([run.columns for run in runs])
    bands = math.ceil(len(columns) / ABREAST)
    abreast = math.ceil(len(columns) / bands)
    headings = max(len(heading_lines(own[0].weighting)) for own in columns)
    size = (1.2 + 4.6 * abreast, (1.4 + 2.2 * len(rows) + HEADING * (headings - 1)) * bands)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows) * bands, abreast, squeeze=False)
    _share_scales(panels, len(rows))
    panels[0, 0].set_xscale("log")
    panels[0, 0].set_xlim(_extent(runs, rows))
    drawn: list[Column] = []
    for place in range(bands * abreast):
        band, column = divmod(place, abreast)
        own = panels[len(rows) * band : len(rows) * (band + 1), column]
        if place >= len(columns):
            for panel in own:
                panel.set_visible(False)
            continue
        drawn.append(_draw_column(own, columns[place], rows))
        for row, panel in enumerate(own):
            panel.tick_params(which="both", labelleft=column == 0, labelbottom=row == len(rows) - 1)
            if column == 0:
                panel.set_ylabel(rows[row].label, color=INK)
    _explain_lines(panels[len(rows) - 1, 0], several=any(len(column) > 1 for column in columns))
    for panel in panels[: len(rows), 0]:
        _label_ticks(panel)
    _make_room(drawn)
    # what is written is placed by scales that no curve changes any more
    for one in drawn:
        write_labels(one)
    figure.suptitle(_title(runs), fontsize=11, color=INK)
    with replacing(Path(file)) as stream:
        figure.savefig(stream, dpi=150, format=Path(file).suffix.removeprefix("."))


def _share_scales(panels: NDArray[Any], rows: int) -> None:
    """One axis of iterations for all panels, and one of values for all of a quantity."""
    for (row, column), panel in np.ndenumerate(panels):
        if (row, column) != (0, 0):
            panel.sharex(panels[0, 0])
        if row >= rows or column:
            panel.sharey(panels[row % rows, 0])


def _extent(runs: Sequence[Compared], rows: Sequence[Panel]) -> tuple[float, float]:
    """The first and the last iteration that is drawn of any run: at least a decade."""
    last = max(_last(run) for run in runs)
    begins = last / 10
    for run in runs:
        for name, _, scale in rows:
            iteration, values = run.curve(name)
            begins = float(iteration[np.isfinite(on_scale(values, scale))].min(initial=begins))
    return begins, last


def _has(run: Compared, name: str) -> bool:
    return bool(np.isfinite(run.columns.get(name, np.empty(0))).any())


def _last(run: Compared) -> float:
    return float(run.columns.get("iteration", np.empty(0)).max(initial=1.0))


def _draw_column(panels: NDArray[Any], runs: Sequence[Compared], rows: Sequence[Panel]) -> Column:
    group = Group(runs[0].weighting, runs)
    timeline = runs[0].timeline if len(runs) == 1 else group.timeline()
    own = {row.column: panel for row, panel in zip(rows, panels, strict=True)}
    column = Column(own, group, timeline, last=max(map(_last, runs)))
    for (name, _, scale), panel in zip(rows, panels, strict=True):
        _mark_phases(panel, column)
        _mark_actions(panel, group)
        _draw_panel(panel, runs, name, scale)
        if name == ERROR and (error := group.error()) is not None:
            _mark_end(panel, column.last, error)
    panels[-1].set_xlabel("iteration", color=INK)
    return column


def _mark_phases(panel: Axes, column: Column) -> None:
    """Shade the phases and draw where each begins: of several networks the median, and the range."""
    for phase, first, end in column.timeline.spans(int(column.last)):
        panel.axvspan(max(first, 1), end, color=PHASE_COLOURS[phase], alpha=SHADE, linewidth=0)
    for transition in column.timeline.transitions:
        colour = PHASE_COLOURS[transition.phase]
        if len(column.group.networks) > 1:
            panel.axvspan(*(max(bound, 1) for bound in transition.interval), color=colour, alpha=SHADE, linewidth=0)
        panel.axvline(max(transition.iteration, 1), color=colour, linewidth=1.2, dashes=(4, 2))
    for phase, begins in of_few(column.group, column.timeline):
        for begin in begins.values:
            panel.axvline(max(begin, 1), color=PHASE_COLOURS[phase], linewidth=1.0, dashes=(1, 2))


def _draw_panel(panel: Axes, runs: Sequence[Compared], name: str, scale: str) -> None:
    panel.set_yscale(scale)
    curves = [run.curve(name) for run in runs]
    smooth = [(iteration, running_median(iteration, values)) for iteration, values in curves]
    if len(runs) == 1:
        _plot(panel, *curves[0], scale, color=FAINT, linewidth=0.7, alpha=0.7)
        _plot(panel, *smooth[0], scale, color=INK, linewidth=1.7)
    else:
        for curve in smooth:
            _plot(panel, *curve, scale, color=FAINT, linewidth=0.8, alpha=0.8)
        whole = [curve for run, curve in zip(runs, smooth, strict=True) if run.is_complete]
        _plot(panel, *median_curve(whole), scale, color=INK, linewidth=2.0)
    if not any(np.isfinite(on_scale(values, scale)).any() for _, values in curves):
        panel.text(0.5, 0.5, "not recorded", transform=panel.transAxes, ha="center", color=FAINT)
    panel.grid(True, which="major", color=FAINT, alpha=0.25, linewidth=0.6)
    panel.tick_params(which="both", colors=INK, labelsize=9)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _plot(panel: Axes, iteration: NDArray[np.float64], values: NDArray[np.float64], scale: str, **style: Any) -> None:
    """Draw a line with its gaps, and a dot where a number stands alone."""
    values = on_scale(values, scale)
    dots = alone(values).tolist()
    panel.plot(iteration, values, **style, **({"marker": ".", "markevery": dots} if dots else {}))


def _mark_end(panel: Axes, last: float, error: Spread) -> None:
    """Mark where the curve of the error ends, and how high that is; 0 is on no logarithmic axis."""
    if error.median <= 0:
        return
    panel.axhline(error.median, color=INK, linewidth=0.7, alpha=0.6)
    panel.plot([last], [error.median], "o", color=INK, markersize=4, clip_on=False)


def _explain_lines(panel: Axes, *, several: bool) -> None:
    """Say what the lines are, where the fewest curves are in the way."""
    from matplotlib.lines import Line2D

    names = ("one seed", "median over seeds") if several else ("as captured", "running median")
    lines = [
        Line2D([], [], color=FAINT, linewidth=0.8, label=names[0]),
        Line2D([], [], color=INK, linewidth=1.8, label=names[1]),
        Line2D([], [], color=INK, linewidth=1.2, dashes=(4, 2), label="a phase begins"),
    ]
    panel.legend(handles=lines, loc="best", fontsize=8, framealpha=0.9, edgecolor="none", labelcolor=INK)


def _mark_actions(panel: Axes, group: Group) -> None:
    """Draw where policies acted: of several networks the median, and the range."""
    for iteration in dict.fromkeys(max(acted.iteration, 1) for acted in acted_alone(group)):
        panel.axvline(iteration, color=INK, linewidth=1.0, dashes=(1, 2))
    for done in group.done() if len(group.networks) > 1 else ():
        low, high = (max(bound, 1) for bound in (done.begins.low, done.begins.high))
        panel.axvspan(low, high, color=INK, alpha=SHADE / 2, linewidth=0)
        panel.axvline(max(done.begins.median, 1), color=INK, linewidth=1.0, dashes=(1, 2))


def _label_ticks(panel: Axes) -> None:
    """Write plain numbers at the ticks, and enough of them where an axis spans little more than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis, (low, high) in ((panel.xaxis, panel.get_xlim()), (panel.yaxis, panel.get_ylim())):
        if axis.get_scale() != "log":
            middle, half = (low + high) / 2, max(high - low, NARROWEST) / 2
            panel.set_ylim(middle - half, middle + half)
            continue
        narrow = axis.axis_name == "y" and np.log10(high / low) < 2.5
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=12))
        plain_enough = low > 1e-4 and high < 1e6
        if plain_enough:
            axis.set_major_formatter(FuncFormatter(lambda value, _: grouped(value)))
        axis.set_minor_formatter(NullFormatter())


def _make_room(columns: Sequence[Column]) -> None:
    """Raise the upper limit of the first panels as far as curves would be beneath labels."""
    panel, *_ = columns[0].panels.values()
    scale = panel.yaxis.get_transform()
    low, high = scale.transform(panel.get_ylim())
    needed = [
        low + (_highest(column, label.left, label.right) - low) / (1 - label.depth)
        for column in columns
        for label in labels_above(column)
    ]
    panel.set_ylim(top=float(scale.inverted().transform(max([high, *needed]))))


def _highest(column: Column, left: float, right: float) -> float:
    """How high curves come in the first panel between two shares of its width, on its scale."""
    panel, *_ = column.panels.values()
    first, last = np.log10(panel.get_xlim())
    ends = first + np.array([left, right]) * (last - first)
    found = [panel.get_ylim()[0]]
    for line in panel.get_lines():
        x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
        there = np.isfinite(y) & (x > 0)
        if line.get_transform() is panel.transData and there.any():
            at, height = np.log10(x[there]), y[there]
            found += [*height[(at >= ends[0]) & (at <= ends[1])], *np.interp(ends, at, height)]
    return float(panel.yaxis.get_transform().transform(max(found)))


def _title(runs: Sequence[Compared]) -> str:
    training = runs[0].training
    known = {name: value for name, value in training.problem.parameters.items() if value is not None}
    parameters = ", ".join(f"{name} = {value}" for name, value in known.items())
    settings = training.settings
    seeds = list(dict.fromkeys(run.seed for run in runs))
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))} (bold: median)"
    return (
        f"{training.problem.name}{f' ({parameters})' if parameters else ''}: {settings.points:,} points, "
        f"{settings.depth} x {settings.width} tanh, {which}, {training.backend}"
    ).replace(" x ", " \u00d7 ")
