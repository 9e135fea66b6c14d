"""Phases read off pictures, blind, by two readers, against what the detector finds in the same runs.

    python -m benchmarks.readings --draw DIR    # pictures with numbers in the place of names, and what a reader is told
    python -m benchmarks.readings               # makes docs/readings.md of the readings that are there

The runs are of the pool (`benchmarks.pool`), chosen and shuffled before any was looked at for this: of each of four
problems uniform weights and residual-based attention, seeds 0 to 2, four other schemes and both in mini-batches, seed
0, and residual-based attention on six further problems. A reader has the pictures and `INSTRUCTIONS`, not the names,
nor what the detector or the other reader says, and writes `benchmarks/results/readings/NAME.json`: by number the
iterations at which diffusion and total diffusion begin, null where they do not.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pool import POOL, PROBLEMS
from phasecore.phases import Curve, Phase, Timeline, detect, replay
from phasecore.reporting.timeline_figure import quantity

READINGS = Path(__file__).parent / "results" / "readings"
PAGE = Path(__file__).parent.parent / "docs" / "readings.md"
READERS = ("first", "second")
OTHERS = ("brdr", "grad_norm", "self_adaptive", "relobralo", "rba-batches", "uniform-batches")
NEWER = ("burgers_inverse", "diffusion_reaction", "kdv", "lorenz", "poisson_l_shape", "wave")
SHUFFLE = 17
PHASES = {"diffusion": Phase.DIFFUSION, "total_diffusion": Phase.TOTAL_DIFFUSION}
NEAR, SHARE = 0.3, 0.85
"""Decades within which a transition counts as found, and the share of them that is aimed at."""

PANELS = (
    ("snr", "gradient SNR", "log"),
    ("adam_snr", "Adam SNR", "log"),
    ("residual_order", "residual order", "linear"),
    ("training_loss", "loss", "log"),
    ("relative_l2_error", "relative L2 error", "log"),
)
INSTRUCTIONS = """# Where do the phases begin?

Each picture shows one training of a network on a differential equation, on a logarithmic axis of iterations: the signal
-to-noise ratio (SNR) of the gradients over batches of points, that of Adam's moments, how uniform the residuals are over
the domain (residual order, 1 is uniform), the loss without weights and the error. Dots are captures, lines their running
median. Training is said to go through three phases:

- **fitting**: the SNR is high, then falls steeply; the loss falls with it.
- **diffusion** begins where the steep fall of the SNR ends; from there the SNR stays low or sinks slowly. Where the SNR
  was low from the first capture on, go by Adam's SNR and by where the loss's first steep fall ends.
- **total diffusion** begins where, after a diffusion, the SNR rises abruptly (by half a decade at least) and stays risen
  or oscillates at the higher level, while the residuals become uniform, or stay so; loss and error usually fall there.
  The SNR's rise is what counts: a fall of loss or error, or uniform residuals, alone are none. Where it rises in steps
  or slowly, it begins where the first rise begins that is not undone again.

Many trainings stop before total diffusion; some may never leave fitting. Say where you would draw the boundaries by
eye, to about a tenth of a decade, and null where a phase does not begin before the end.
Also say how sure you are of each answer, from 0.5 (a guess) to 1.
"""


@functools.cache
def sample() -> tuple[Path, ...]:
    """Return the files of the runs, in the order of the pictures."""
    pairs = [f"{scheme}-seed{seed}" for scheme in ("uniform", "rba") for seed in (0, 1, 2)]
    four = [f"{problem}-{run}" for problem in PROBLEMS for run in [*pairs, *(f"{other}-seed0" for other in OTHERS)]]
    files = [POOL / f"{name}.json" for name in [*four, *(f"{problem}-rba-seed0" for problem in NEWER)]]
    random.Random(SHUFFLE).shuffle(files)
    return tuple(files)


def history(file: Path) -> Mapping[str, Any]:
    """Return the curve of a run."""
    kept: Mapping[str, Any] = json.loads(file.read_text())["history"]
    return kept


def draw(folder: Path) -> None:
    """Write the pictures and the instructions."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "INSTRUCTIONS.md").write_text(INSTRUCTIONS)
    for number, file in enumerate(sample(), start=1):
        draw_one(history(file), f"number {number}", folder / f"{number:02d}.png")


def draw_one(columns: Mapping[str, Any], title: str, file: Path) -> None:
    """Draw the quantities of a run, and nothing that tells which it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = Curve.from_columns({**columns, "training_loss": columns["unweighted_loss"]})
    drawn = [(panel, values) for panel in PANELS if (values := quantity(curve, panel[0])) is not None]
    figure = Figure(figsize=(11.0, 2.0 * len(drawn) + 0.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for panel, ((_, label, scale), values) in zip(panels, drawn, strict=True):
        shown = (curve.iteration >= 1) & np.isfinite(values) & ((values > 0) | (scale != "log"))
        iteration, values = curve.iteration[shown], values[shown]
        panel.plot(iteration, values, ".", color="0.65", markersize=3)
        times = np.log10(iteration)
        median = [np.median(values[abs(times - time) <= 0.03]) for time in times]
        panel.plot(iteration, median, color="black", linewidth=1.2)
        panel.set_xscale("log")
        panel.set_yscale(scale)
        panel.set_ylabel(label)
        panel.grid(visible=True, which="both", axis="x", alpha=0.4)
        panel.grid(visible=True, which="major", axis="y", alpha=0.4)
    marks = [10.0**power * digit for power in range(5) for digit in (1, 2, 3, 4, 5, 6, 8)]
    marks = [mark for mark in marks if curve.iteration[0] <= mark <= curve.iteration[-1] * 1.05]
    panels[-1].set_xticks(marks, [f"{mark:g}" for mark in marks], fontsize=8)
    panels[-1].set_xlabel("iteration")
    figure.suptitle(title)
    figure.savefig(file, dpi=80)


def readings(reader: str) -> dict[int, dict[str, float | None]] | None:
    """Return by number of a picture what a reader says, or None if the reader's file is not there."""
    file = READINGS / f"{reader}.json"
    if not file.exists():
        return None
    return {int(number): said for number, said in json.loads(file.read_text()).items()}
