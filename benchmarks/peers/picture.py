"""One picture: steps of all contenders, growth of time, and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import Case
from benchmarks.peers.contenders import ENTRIES, OURS
from benchmarks.peers.measured import Measured
from phasecore.reporting.palette import FAINT, INK

OURS_COLOUR, PEER_COLOUR, NESTED_COLOUR = "#0072b2", "#b8c0c8", "#e69f00"
"""From Okabe and Ito's palette."""


def draw(measured: Measured, file: Path) -> None:
    """Draw to a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    device = measured.devices()[0]
    figure, (steps, time, memory) = plt.subplots(
        1, 3, figsize=(14, 5.2), width_ratios=(1.7, 1, 1), layout="constrained"
    )
    _draw_steps(steps, measured, device)
    largest = max((case.width for case in measured.grown(device)), default=0)
    cases = [case for case in measured.grown(device) if case.problem == "burgers" and case.width == min(largest, 128)]
    _draw_growth(time, measured.seconds, cases, 1e3)
    _draw_growth(memory, measured.memory, cases, 2.0**-20)
    time.set(ylabel="milliseconds of a step", title="Burgers: time")
    memory.set(ylabel="MiB", title="Burgers: peak memory")
    for axes in (steps, time, memory):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _draw_growth(axes: Any, of: Callable[[Case, str], float | None], cases: list[Case], factor: float) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    for name, colour, label in ((OURS, OURS_COLOUR, "compiled jets"), ("nested", NESTED_COLOUR, "nested autodiff")):
        pairs = [(case.points, factor * value) for case in cases if (value := of(case, name)) is not None]
        if pairs:
            axes.loglog(*zip(*pairs, strict=True), "o-", color=colour, label=label)
    axes.set_xlabel("collocation points, thousands")
    axes.set_xticks([case.points for case in cases])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda points, _: f"{points / 1000:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter("")
    axes.grid(color=FAINT, alpha=0.3, which="both")
    axes.legend(frameon=False)


def _draw_steps(axes: Any, measured: Measured, device: str) -> None:
    """Times relative to ours, of the first size that all were timed on; statistics left out."""
    compared = measured.compared(device)
    if not compared:
        return
    title, cases = next(iter(compared.items()))
    names = [name for name in ENTRIES if not name.endswith("_snr")]
    height = 0.8 / len(cases)
    for k, case in enumerate(cases):
        for row, name in enumerate(names):
            ratio = measured.ratio(case, name, OURS)
            if ratio is not None:
                colour = OURS_COLOUR if "phasecore" in ENTRIES[name].title else PEER_COLOUR
                place = row + (k - (len(cases) - 1) / 2) * height
                axes.barh(place, ratio, height=0.9 * height, color=colour)
                axes.text(ratio, place, f" {ratio:.2f} {case.problem}", va="center", fontsize=5.5, color=INK)
    axes.set_yticks(range(len(names)), [ENTRIES[name].title for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1.0, color=INK, linewidth=0.8)
    axes.margins(x=0.25)
    axes.set(xlabel="time of a step, relative to phasecore, torch, compiled", title=title)
