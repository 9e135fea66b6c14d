"""The figure of a timeline: the recorded quantities with shaded phases, and the evidence for each transition."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.files import replacing
from phasecore.phases import Curve, Timeline, Transition
from phasecore.phases.statistics import signal_to_noise_ratio
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.histories import WINDOW, captures_with, on_scale
from phasecore.reporting.palette import FAINT, INK, PHASE_COLOURS, PHASE_NAMES, SHADE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = (
    ("snr", "gradient SNR", "log"),
    ("adam_snr", "Adam SNR", "log"),
    ("residual_order", "residual order", "linear"),
    ("training_loss", "training loss", "log"),
    ("relative_l2_error", "relative L2 error", "log"),
)
"""Quantity, label and scale of each panel; those not recorded are left out."""

MOST_ODDS = 9.0
"""Log odds at the right end of the bars."""


def draw_timeline(curve: Curve, timeline: Timeline, file: str | Path) -> None:
    """Draw a curve, its phases and the evidence, and save the figure.

    Args:
        curve: what was recorded; iteration 0 is left out, since the axis is logarithmic.
        timeline: what was found in it.
        file: where to save the figure; the suffix says the format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        InputError: the file is a folder, cannot be written, or its suffix is of no known format.
    """
    check_installed("matplotlib", "the figure of a timeline")
    if Path(file).is_dir():
        raise InputError(f"figure {file}", received="a folder", expected="a file such as timeline.png")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [panel for panel in PANELS if quantity(curve, panel[0]) is not None]
    rows = max((len(transition.evidence) for transition in timeline.transitions), default=0)
    heights = [2.2 if place == 0 else 1.3 for place in range(len(drawn))] + [0.3 + 0.28 * max(rows, 1)]
    figure = Figure(figsize=(11.0, sum(heights) + 1.0), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), max(len(timeline.transitions), 1), height_ratios=heights)
    first: Axes | None = None
    for place, (name, label, scale) in enumerate(drawn):
        panel = figure.add_subplot(grid[place, :], sharex=first)
        first = first or panel
        _draw_quantity(panel, *captured(curve, name), scale)
        _shade(panel, timeline, float(curve.iteration[-1]))
        panel.set_ylabel(label, color=INK, fontsize=9)
        if place == 0:
            _name_phases(panel, timeline)
        if place < len(drawn) - 1:
            panel.tick_params(labelbottom=False)
        else:
            panel.set_xlabel("iteration", color=INK, fontsize=9)
    for place, transition in enumerate(timeline.transitions):
        _draw_evidence(figure.add_subplot(grid[-1, place]), transition, rows)
    if timeline.nonfinite is not None and timeline.transitions:
        figure.suptitle(timeline.nonfinite.statement, color=INK, fontsize=9)
    if not timeline.transitions:
        panel = figure.add_subplot(grid[-1, :])
        panel.axis("off")
        panel.text(0.0, 0.5, timeline.reason, color=INK, fontsize=9, va="center", wrap=True)
    try:
        file = Path(file) if Path(file).suffix else Path(file).with_suffix(".png")
        with replacing(file) as stream:
            figure.savefig(stream, dpi=130, format=file.suffix.removeprefix("."))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot save the figure {file}", received=str(error), expected="a file such as phases.png"
        ) from None


def quantity(curve: Curve, name: str) -> NDArray[np.float64] | None:
    """Return the values of a panel's quantity, shape (captures,), or None if none of them is finite.

    Args:
        curve: what was recorded.
        name: of the quantity, see `PANELS`; the SNR may have been recorded as its mean and standard deviation.

    Example:
        >>> curve = Curve.from_columns(
        ...     {"iteration": [1, 2], "gradient_mean_norm": [1.0, 3.0], "gradient_std_norm": [2.0, 2.0]}
        ... )
        >>> quantity(curve, "snr").tolist(), quantity(curve, "residual_order")
        ([0.5, 1.5], None)
    """
    if name in ("snr", "adam_snr"):
        ratio = curve.ratio(name)
        values = None if ratio is None else signal_to_noise_ratio(*ratio)
    else:
        values = curve.columns.get(name)
    return None if values is None or not np.isfinite(values).any() else values


def captured(curve: Curve, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return iterations and values of the captures that have a quantity, NaN where it is no number there.

    Args:
        curve: what was recorded.
        name: of the quantity, see `PANELS`.

    Example:
        >>> columns = {"iteration": [1, 2, 3], "gradient_mean_norm": [1.0, None, 3.0], "gradient_std_norm": [2, 2, 0]}
        >>> [part.tolist() for part in captured(Curve.from_columns(columns), "snr")]
        [[1.0, 3.0], [0.5, nan]]
    """
    ones = {
        column: np.where(np.isfinite(values) | (curve.nonfinite.get(column, 0.0) != 0.0), 1.0, np.nan)
        for column, values in curve.columns.items()
    }
    values, has = quantity(curve, name), quantity(Curve(curve.iteration, ones), name)
    if values is None or has is None:
        return np.empty(0), np.empty(0)
    return captures_with(curve.iteration, values, np.isfinite(has))


def _draw_quantity(panel: Axes, iteration: NDArray[np.float64], values: NDArray[np.float64], scale: str) -> None:
    values = on_scale(values, scale)
    shown = np.isfinite(values)
    gaps = np.log10(iteration[~shown])
    iteration, values = iteration[shown], values[shown]
    panel.set_xscale("log")
    panel.set_yscale(scale)
    panel.plot(iteration, values, ".", color=FAINT, markersize=2.5, alpha=0.6, markeredgewidth=0, rasterized=True)
    times = np.log10(iteration)
    centres = np.unique(np.round(times / WINDOW * 2.0)) * WINDOW / 2.0
    low, high = (np.searchsorted(times, centres + shift) for shift in (-WINDOW / 2, WINDOW / 2))
    places = [(centre, float(np.median(values[a:b]))) for centre, a, b in zip(centres, low, high, strict=True) if b > a]
    # bins beside one another are nearer than the line tells
    broken = [
        (one + other) / 2
        for (one, _), (other, _) in pairwise(places)
        if other - one > 0.75 * WINDOW and np.any((one < gaps) & (gaps < other))
    ]
    places = sorted(places + [(centre, np.nan) for centre in broken])
    if places:
        panel.plot(*np.array([(10.0**centre, value) for centre, value in places]).T, color=INK, linewidth=1.4)
    panel.grid(True, which="major", color=FAINT, alpha=0.25, linewidth=0.6)
    panel.tick_params(which="both", colors=INK, labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _shade(panel: Axes, timeline: Timeline, last: float) -> None:
    left, right = panel.get_xlim()
    for phase, begin, end in timeline.spans(int(last)):
        panel.axvspan(max(begin, left), max(end, left), color=PHASE_COLOURS[phase], alpha=SHADE, linewidth=0)
    for transition in timeline.transitions:
        colour = PHASE_COLOURS[transition.phase]
        panel.axvline(max(transition.iteration, 1), color=colour, linewidth=1.3)
        for bound in transition.interval:
            panel.axvline(max(bound, 1), color=colour, linewidth=0.8, dashes=(3, 3))
        if transition.declared_at is not None:
            panel.axvline(transition.declared_at, color=colour, linewidth=1.0, dashes=(1, 2))
    panel.set_xlim(left, right)


def _name_phases(panel: Axes, timeline: Timeline) -> None:
    from matplotlib.transforms import blended_transform_factory

    left, right = panel.get_xlim()
    above = blended_transform_factory(panel.transData, panel.transAxes)
    for phase, begin, end in timeline.spans(int(right)):
        low, high = np.log10(max(begin, left)), np.log10(max(min(end, right), left))
        if high - low > 0.02:
            middle, name = 10.0 ** (0.5 * (low + high)), PHASE_NAMES[phase]
            panel.text(middle, 1.03, name, transform=above, ha="center", fontsize=9, color=PHASE_COLOURS[phase])


def _draw_evidence(panel: Axes, transition: Transition, rows: int) -> None:
    """Draw log odds as bars to the left and right of zero, each with its statement beside it."""
    for row, item in enumerate(transition.evidence):
        colour = PHASE_COLOURS[transition.phase] if item.log_odds > 0 else FAINT
        panel.barh(row, item.log_odds, height=0.7, color=colour, alpha=0.5, linewidth=0)
        panel.text(MOST_ODDS, row, f"{item.log_odds:+.1f}  {item.statement}", va="center", fontsize=7, color=INK)
    panel.axvline(0.0, color=FAINT, linewidth=0.6)
    panel.set(xlim=(-0.6 * MOST_ODDS, 7.0 * MOST_ODDS), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    for side in panel.spines.values():
        side.set_visible(False)
    low, high = transition.interval
    declared = "" if transition.declared_at is None else f", declared at {transition.declared_at}"
    panel.set_title(
        f"{PHASE_NAMES[transition.phase]} from {transition.iteration} ({low} to {high}), "
        f"confidence {transition.confidence:.2f}{declared}",
        fontsize=8.5,
        color=PHASE_COLOURS[transition.phase],
        loc="left",
    )
