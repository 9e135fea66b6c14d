"""The figure of a comparison: SNR, test error and residual order, a column of panels for each weighting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phasecore.phases import Timeline
from phasecore.reporting.comparison import Compared
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, PHASE_NAMES, SHADE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS = (
    ("snr", "gradient SNR", "log"),
    ("relative_l2_error", "relative L2 test error", "log"),
    ("residual_order", "residual order", "linear"),
)
"""Column of the history, label and scale of each row of panels."""

ABREAST = 4
"""Runs side by side at most."""

NARROWEST = 0.1
"""Least height of a linear scale, so that what hardly changes looks it."""

WINDOW = 0.06
"""Width, in decades of iterations, of the running median drawn over the recorded values."""

EDGE = 0.15
"""Share of a panel's width at its sides in which labels are aligned to stay inside."""


def check_matplotlib() -> None:
    """Refuse to begin what ends in a figure if none can be drawn.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    check_installed("matplotlib", "the figure of a comparison")


def draw_comparison(runs: Sequence[Compared], file: Path) -> None:
    """Draw the histories of several runs and save the figure.

    Iterations are on a logarithmic axis, so the capture before the first iteration is left out. The scale of each
    quantity is the same for all runs. Many runs stand in several bands, one below the other.

    Args:
        runs: at least one, in order of the columns.
        file: where to save it; the suffix says the format.

    Raises:
        MissingDependencyError: if matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bands = math.ceil(len(runs) / ABREAST)
    abreast = math.ceil(len(runs) / bands)
    figure = Figure(figsize=(1.2 + 4.6 * abreast, 8.0 * bands), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ROWS) * bands, abreast, squeeze=False)
    _share_scales(panels)
    for place in range(bands * abreast):
        band, column = divmod(place, abreast)
        own = panels[len(ROWS) * band : len(ROWS) * (band + 1), column]
        if place >= len(runs):
            for panel in own:
                panel.set_visible(False)
            continue
        _draw_run(own, runs[place])
        for row, panel in enumerate(own):
            panel.tick_params(which="both", labelleft=column == 0, labelbottom=row == len(ROWS) - 1)
            if column == 0:
                panel.set_ylabel(ROWS[row][1], color=INK)
    for panel in panels[: len(ROWS), 0]:
        _label_ticks(panel)
    figure.suptitle(_title(runs[0]), fontsize=11, color=INK)
    figure.savefig(file, dpi=150)


def _share_scales(panels: NDArray[Any]) -> None:
    """One axis of iterations for all panels, and one of values for all of a quantity."""
    for (row, column), panel in np.ndenumerate(panels):
        if (row, column) != (0, 0):
            panel.sharex(panels[0, 0])
        if row >= len(ROWS) or column:
            panel.sharey(panels[row % len(ROWS), 0])


def _draw_run(panels: NDArray[Any], run: Compared) -> None:
    last = float(run.columns["iteration"].max(initial=1.0))
    for (name, _, scale), panel in zip(ROWS, panels, strict=True):
        _draw_panel(panel, run, name, scale, last)
    _label_phases(panels[0], run.outcome.timeline, last)
    _label_actions(panels[0], run)
    title = run.training.scheme_name
    panels[0].set_title(f"{title}\n", fontsize=min(13.0, 480 / len(title)), fontweight="bold", color=INK, pad=20)
    panels[0].annotate(
        f"final error {run.outcome.relative_l2_error:.3g}, {run.outcome.seconds:.0f} s",
        (0.5, 1.0), (0, 25), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=10, color=FAINT,
    )  # fmt: skip
    panels[-1].set_xlabel("iteration", color=INK)


def _draw_panel(panel: Axes, run: Compared, name: str, scale: str, last: float) -> None:
    iteration = run.columns["iteration"]
    values = run.columns.get(name, np.full(iteration.shape, np.nan))
    drawn = (iteration >= 1) & np.isfinite(values)
    if scale == "log":
        drawn &= values > 0
    panel.set_xscale("log")
    panel.set_yscale(scale)
    for phase, first, end in run.outcome.timeline.spans(int(last)):
        panel.axvspan(max(first, 1), end, color=PHASE_COLOURS[phase], alpha=SHADE, linewidth=0)
    for transition in run.outcome.timeline.transitions:
        panel.axvline(max(transition.iteration, 1), color=PHASE_COLOURS[transition.phase], linewidth=1.2, dashes=(4, 2))
    for acted in run.outcome.actions:
        panel.axvline(max(acted.iteration, 1), color=INK, linewidth=1.0, dashes=(1, 2))
    panel.plot(iteration[drawn], values[drawn], color=FAINT, linewidth=0.7, alpha=0.7)
    panel.plot(iteration[drawn], running_median(iteration[drawn], values[drawn]), color=INK, linewidth=1.7)
    if drawn.any():
        first_iteration = float(iteration[drawn].min())
        panel.set_xlim(min(first_iteration, last / 10), last)
    else:
        panel.text(0.5, 0.5, "not recorded", transform=panel.transAxes, ha="center", color=FAINT)
    panel.grid(True, which="major", color=FAINT, alpha=0.25, linewidth=0.6)
    panel.tick_params(which="both", colors=INK, labelsize=9)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _label_phases(panel: Axes, timeline: Timeline, last: float) -> None:
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
    for place, transition in enumerate(timeline.transitions):
        label = f"{grouped(transition.iteration)} ({transition.confidence:.0%})"
        where = (np.log10(max(transition.iteration, 1)) - left) / (right - left)
        panel.annotate(
            label, (max(transition.iteration, 1), 0.94 - 0.1 * place), xycoords=above,
            ha=_alignment(float(where)), va="center", fontsize=9, color=PHASE_COLOURS[transition.phase],
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.9},
        )  # fmt: skip


def _label_actions(panel: Axes, run: Compared) -> None:
    """Write what policies had done along the lines of their iterations, from below."""
    left, right = (float(np.log10(bound)) for bound in panel.get_xlim())
    together: dict[int, list[str]] = {}
    for acted in run.outcome.actions:
        together.setdefault(acted.iteration, []).append(acted.words)
    for iteration, words in together.items():
        share = (np.log10(max(iteration, 1)) - left) / (right - left)
        panel.annotate(
            ", ".join(words), (max(iteration, 1), 0.02), (-2 if share > EDGE else 8, 0), rotation=90,
            xycoords=panel.get_xaxis_transform(), textcoords="offset points",
            ha="right" if share > EDGE else "left", va="bottom", fontsize=8, color=INK,
        )  # fmt: skip


def _alignment(share: float) -> str:
    """How to align a label at a share of the panel's width so that it stays inside."""
    return "left" if share < EDGE else "right" if share > 1 - EDGE else "center"


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


def _title(run: Compared) -> str:
    training = run.training
    parameters = ", ".join(f"{name} = {value}" for name, value in training.problem.parameters.items())
    settings = training.settings
    return (
        f"{training.problem.name}{f' ({parameters})' if parameters else ''}: {settings.points:,} points, "
        f"{settings.depth} x {settings.width} tanh, seed {settings.seed}, {training.backend}"
    ).replace(" x ", " \u00d7 ")
