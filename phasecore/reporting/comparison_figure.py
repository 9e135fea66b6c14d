"""The figure of a comparison: SNR, test error and residual order, a column of panels for each weighting."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Acted
from phasecore.files import replacing
from phasecore.phases import Phase, Timeline, Transition
from phasecore.reporting.coefficients import Panel, coefficient_panels
from phasecore.reporting.comparison import Compared
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.marks import placed_labels
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, PHASE_NAMES, SHADE
from phasecore.reporting.seeds import BEGINS, Group, Spread, median_curve
from phasecore.reporting.wording import number, ranged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ERROR = "relative_l2_error"

ROWS = (
    ("snr", "gradient SNR\n(high: batches agree)", "log"),
    (ERROR, "relative L2 test error\n(0: the exact solution)", "log"),
    ("residual_order", "residual order\n(1: equally large everywhere)", "linear"),
)
"""Column of the history, label and scale of each row of panels; those of trained coefficients follow."""

ABREAST = 4
"""Runs side by side at most."""

NARROWEST = 0.1
"""Least height of a linear scale, so that what hardly changes looks it."""

WINDOW = 0.06
"""Width, in decades of iterations, of the running median drawn over the recorded values."""

EDGE = 0.15
"""Share of a panel's width at its sides in which labels are aligned to stay inside."""

CHARACTER = 0.017
"""Share of a panel's width that a character of a label takes."""


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
    the first iteration is left out. The scale of each quantity is the same for all. What no run has recorded has no
    panels. Many weightings stand in several bands, one below the other.

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
    rows = [row for row in always if any(math.isfinite(run.final(row.column)) for run in runs)] or always
    rows += coefficient_panels([run.columns for run in runs])
    bands = math.ceil(len(columns) / ABREAST)
    abreast = math.ceil(len(columns) / bands)
    size = (1.2 + 4.6 * abreast, (1.4 + 2.2 * len(rows)) * bands)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows) * bands, abreast, squeeze=False)
    _share_scales(panels, len(rows))
    for place in range(bands * abreast):
        band, column = divmod(place, abreast)
        own = panels[len(rows) * band : len(rows) * (band + 1), column]
        if place >= len(columns):
            for panel in own:
                panel.set_visible(False)
            continue
        _draw_column(own, columns[place], rows)
        for row, panel in enumerate(own):
            panel.tick_params(which="both", labelleft=column == 0, labelbottom=row == len(rows) - 1)
            if column == 0:
                panel.set_ylabel(rows[row].label, color=INK)
    _explain_lines(panels[len(rows) - 1, 0], several=any(len(column) > 1 for column in columns))
    for panel in panels[: len(rows), 0]:
        _label_ticks(panel)
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


def _draw_column(panels: NDArray[Any], runs: Sequence[Compared], rows: Sequence[Panel]) -> None:
    group = Group(runs[0].weighting, runs)
    timeline = runs[0].timeline if len(runs) == 1 else group.timeline()
    last = max(float(run.columns.get("iteration", np.empty(0)).max(initial=1.0)) for run in runs)
    for (name, _, scale), panel in zip(rows, panels, strict=True):
        _mark_phases(panel, group, timeline, last)
        _mark_actions(panel, group)
        _draw_panel(panel, runs, name, scale, last)
        if name == ERROR and (error := group.error()) is not None:
            _label_end(panel, last, error)
    _label_phases(panels[0], group, timeline, last)
    if timeline.current is None and not timeline.transitions and len(runs) == 1:
        panels[0].text(
            0.5, 0.95, textwrap.fill(timeline.reason, 60), transform=panels[0].transAxes,
            ha="center", va="top", fontsize=9, color=INK,
        )  # fmt: skip
    _label_actions(panels[0], group)
    title = group.weighting
    panels[0].set_title(f"{title}\n", fontsize=min(13.0, 480 / len(title)), fontweight="bold", color=INK, pad=20)
    panels[0].annotate(
        _subtitle(group), (0.5, 1.0), (0, 25), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=10, color=FAINT,
    )  # fmt: skip
    panels[-1].set_xlabel("iteration", color=INK)


def _subtitle(group: Group) -> str:
    count, completed = len(group.networks), len(group.completed)
    if not completed:
        return "failed"
    error, seconds = group.error(), group.seconds()
    parts = [f"final error {ranged(error, number)}"] if error else []
    if count == 1:
        parts += [f"{seconds.median:.0f} s"] if seconds else []
    else:
        parts.append(f"{count} seeds" if completed == count else f"{completed} of {count} seeds, the others failed")
    return ", ".join(parts)


def _mark_phases(panel: Axes, group: Group, timeline: Timeline, last: float) -> None:
    """Shade the phases and draw where each begins: of several networks the median, and the range."""
    panel.set_xscale("log")
    for phase, first, end in timeline.spans(int(last)):
        panel.axvspan(max(first, 1), end, color=PHASE_COLOURS[phase], alpha=SHADE, linewidth=0)
    for transition in timeline.transitions:
        colour = PHASE_COLOURS[transition.phase]
        if len(group.networks) > 1:
            panel.axvspan(*(max(bound, 1) for bound in transition.interval), color=colour, alpha=SHADE, linewidth=0)
        panel.axvline(max(transition.iteration, 1), color=colour, linewidth=1.2, dashes=(4, 2))
    for phase, begins in _of_few(group, timeline):
        for begin in begins.values:
            panel.axvline(max(begin, 1), color=PHASE_COLOURS[phase], linewidth=1.0, dashes=(1, 2))


def _of_few(group: Group, timeline: Timeline) -> list[tuple[Phase, Spread]]:
    """The phases that some networks reached, but not most of them."""
    begins = [(phase, group.start(phase)) for phase in BEGINS if timeline.transition(phase) is None]
    return [(phase, spread) for phase, spread in begins if spread is not None]


def _draw_panel(panel: Axes, runs: Sequence[Compared], name: str, scale: str, last: float) -> None:
    panel.set_yscale(scale)
    curves = [_drawable(run, name, scale) for run in runs]
    smooth = [(iteration, running_median(iteration, values)) for iteration, values in curves]
    if len(runs) == 1:
        panel.plot(*curves[0], color=FAINT, linewidth=0.7, alpha=0.7)
        panel.plot(*smooth[0], color=INK, linewidth=1.7)
    else:
        for curve in smooth:
            panel.plot(*curve, color=FAINT, linewidth=0.8, alpha=0.8)
        whole = [curve for run, curve in zip(runs, smooth, strict=True) if not run.failure]
        panel.plot(*median_curve(whole), color=INK, linewidth=2.0)
    first = [float(iteration[0]) for iteration, _ in curves if iteration.size]
    if first:
        panel.set_xlim(min(*first, last / 10), last)
    else:
        panel.text(0.5, 0.5, "not recorded", transform=panel.transAxes, ha="center", color=FAINT)
    panel.grid(True, which="major", color=FAINT, alpha=0.25, linewidth=0.6)
    panel.tick_params(which="both", colors=INK, labelsize=9)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _label_end(panel: Axes, last: float, error: Spread) -> None:
    """Mark where the curve of the error ends, and write how high that is at the other side, where it began higher."""
    panel.axhline(error.median, color=INK, linewidth=0.7, alpha=0.6)
    panel.plot([last], [error.median], "o", color=INK, markersize=4, clip_on=False)
    panel.annotate(
        f"final error {number(error.median)}", (0.02, error.median), (0, 4), xycoords=panel.get_yaxis_transform(),
        textcoords="offset points", ha="left", va="bottom", fontsize=9, fontweight="bold", color=INK,
    )  # fmt: skip


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


def _drawable(run: Compared, name: str, scale: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    iteration = run.columns.get("iteration", np.empty(0))
    values = run.columns.get(name, np.full(iteration.shape, np.nan))
    drawn = (iteration >= 1) & np.isfinite(values)
    if scale == "log":
        drawn &= values > 0
    return iteration[drawn], values[drawn]


def _label_phases(panel: Axes, group: Group, timeline: Timeline, last: float) -> None:
    """Write each phase's name above its part of the panel, and where it begins at its transition."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    above: Any = panel.get_xaxis_transform()
    for phase, first, end in timeline.spans(int(last)):
        low = max(np.log10(max(first, 1)), left)
        share = (np.log10(max(end, 1)) - low) / (right - left)
        if share <= 0:
            continue
        name = PHASE_NAMES[phase]
        fits = share * 46 > len(name)
        panel.text(
            10 ** (low + share * (right - left) / 2), 1.02, name if fits else name.replace(" ", "\n"),
            transform=above, ha="center", va="baseline", fontsize=9, fontweight="bold",
            color=PHASE_COLOURS[phase], linespacing=0.9,
        )  # fmt: skip
    labels = [(item.phase, item.iteration, _label(group, item)) for item in timeline.transitions]
    for phase, begins in _of_few(group, timeline):
        name, reached = PHASE_NAMES[phase], f"{len(begins.values)} of {len(group.completed)}"
        labels.append((phase, round(begins.median), f"{name} in {reached}: {ranged(begins, grouped)}"))
    for place, (phase, iteration, label) in enumerate(labels):
        where = (np.log10(max(iteration, 1)) - left) / (right - left)
        panel.annotate(
            label, (max(iteration, 1), 0.94 - 0.1 * place), xycoords=above,
            ha=_alignment(float(where), label), va="center", fontsize=9, color=PHASE_COLOURS[phase],
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
        )  # fmt: skip


def _label(group: Group, transition: Transition) -> str:
    begins = group.start(transition.phase)
    if len(group.networks) == 1 or begins is None:
        return f"from {grouped(transition.iteration)} ({transition.confidence:.0%} sure)"
    reached, completed = len(begins.values), len(group.completed)
    return ranged(begins, grouped) + ("" if reached == completed else f", {reached} of {completed}")


def _mark_actions(panel: Axes, group: Group) -> None:
    """Draw where policies acted: of several networks the median, and the range."""
    for iteration in dict.fromkeys(max(acted.iteration, 1) for acted in _acted_alone(group)):
        panel.axvline(iteration, color=INK, linewidth=1.0, dashes=(1, 2))
    for done in group.done() if len(group.networks) > 1 else ():
        low, high = (max(bound, 1) for bound in (done.begins.low, done.begins.high))
        panel.axvspan(low, high, color=INK, alpha=SHADE / 2, linewidth=0)
        panel.axvline(max(done.begins.median, 1), color=INK, linewidth=1.0, dashes=(1, 2))


def _label_actions(panel: Axes, group: Group) -> None:
    """Write what policies had done along the lines of their iterations, from below."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    words: dict[int, list[str]] = {}
    for acted in _acted_alone(group):
        words.setdefault(acted.iteration, []).append(acted.words)
    for done in group.done() if len(group.networks) > 1 else ():
        reached, completed = len(done.begins.values), len(group.completed)
        some = "" if reached == completed else f", {reached} of {completed}"
        words.setdefault(round(done.begins.median), []).append(done.words + some)
    for iteration, label in placed_labels(words, left, right):
        share = (np.log10(max(iteration, 1)) - left) / (right - left)
        panel.annotate(
            label, (max(iteration, 1), 0.02), (-2 if share > EDGE else 8, 0), rotation=90,
            xycoords=panel.get_xaxis_transform(), textcoords="offset points",
            ha="right" if share > EDGE else "left", va="bottom", fontsize=8, color=INK,
        )  # fmt: skip


def _acted_alone(group: Group) -> Sequence[Acted]:
    """What policies had done, where there is one network."""
    return group.networks[0].actions if len(group.networks) == 1 else ()


def _alignment(share: float, label: str) -> str:
    """How to align a label at a share of the panel's width so that it stays inside."""
    edge = max(EDGE, len(label) * CHARACTER / 2)
    return "left" if share < edge else "right" if share > 1 - edge else "center"


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


def grouped(value: float) -> str:
    """Return a number with its thousands set apart by thin spaces.

    Example:
        >>> grouped(0.05), grouped(300_000) == "300\u2009000"
        ('0.05', True)
    """
    return f"{value:,.0f}".replace(",", "\u2009") if value >= 1 else f"{value:g}"


def running_median(
    iteration: NDArray[np.float64], values: NDArray[np.float64], window: float = WINDOW
) -> NDArray[np.float64]:
    """Return the median over the captures within half a window of each, in decades of iterations.

    Args:
        iteration: ascending and positive, shape (captures,).
        values: finite, shape (captures,).
        window: width in decades.

    Example:
        >>> running_median(np.asarray([100.0, 101.0, 102.0, 1000.0]), np.asarray([1.0, 9.0, 2.0, 5.0])).tolist()
        [2.0, 2.0, 2.0, 5.0]
    """
    place = np.log10(iteration)
    first = np.searchsorted(place, place - window / 2, side="left")
    end = np.searchsorted(place, place + window / 2, side="right")
    return np.asarray([np.median(values[low:high]) for low, high in zip(first, end, strict=True)])


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
