"""One training captured with several numbers of batches: the phases found must not depend on how many there are.

    python -m benchmarks.batches            # trains what is missing, then says which phases each number gives
    python -m benchmarks.batches --list     # trains nothing

At the same iterations the same network is measured with 10, 100 and 400 batches of the same points, so that the SNR
alone differs: its level goes with the root of the points per batch, and its noise with the number of batches. What the
batches have no part in, such as the loss and the error, is stored once. Fixed before anything was trained: the quick
presets of `TRAININGS`, seed 0, in that order as far as there was time, captured every 20 iterations.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pool import Run, as_columns, configuration, written
from phasecore.phases import Timeline, detect, replay
from phasecore.runs import prepare

FOLDER = Path(__file__).parent / "results" / "batches"
TRAININGS = (
    Run("helmholtz", "rba", 0),
    Run("allen_cahn", "rba", 0),
    Run("burgers", "rba", 0),
    Run("helmholtz", "uniform", 0),
    Run("lid_driven_cavity", "rba", 0),
)
NUMBERS = (10, 100, 400)
EVERY = 20


def file_of(run: Run) -> Path:
    """Return where a training is kept."""
    return FOLDER / run.file.name


def curves(file: Path) -> dict[int, dict[str, Any]]:
    """Return the curve of each number of batches, as columns with those that all have."""
    kept = json.loads(file.read_text())
    return {int(number): {**kept["history"], **own} for number, own in kept["by_batches"].items()}


def train(run: Run) -> dict[str, Any]:
    """Train one network, and return what is kept of it."""
    import torch

    from phasecore.recording.schedule import is_due
    from phasecore_torch import PhysicsLoss
    from phasecore_torch.capture import Capture
    from phasecore_torch.training import network

    training = prepare(run.problem, weighting=run.weighting, backend="torch", seed=run.seed, every=EVERY)
    settings, problem = training.settings, training.problem
    model = network(len(problem.coordinates), len(problem.outputs), settings)
    loss = PhysicsLoss(problem, model, training.points, weighting=training.schemes)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings.decay_interval, settings.decay_factor)
    captures = {number: Capture(loss, optimizer, probes=["gradient_snr"], batches=number) for number in NUMBERS}
    others = [probe for probe in training.probes if probe.name != "gradient_snr"]
    common = Capture(loss, optimizer, probes=others, batches=settings.batches)
    rows, by_batches = [], {number: [] for number in NUMBERS}
    for iteration in range(1, settings.iterations + 1):
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        optimizer.step()
        scheduler.step()
        if is_due(iteration, EVERY):
            rows.append({"iteration": iteration, **common.measure(iteration)})
            for number, capture in captures.items():
                by_batches[number].append(capture.measure(iteration))
            print(f"{run.file.stem}: iteration {iteration} of {settings.iterations}", end="\r", flush=True)
    return {
        "configuration": configuration(run, training),
        "points_per_batch": {number: settings.points / number for number in NUMBERS},
        "history": as_columns(rows),
        "by_batches": {number: as_columns(own) for number, own in by_batches.items()},
    }


def farthest(file: Path, detector: Callable[[Mapping[str, Any]], Timeline], sure: float = 0.0) -> float:
    """Return the largest distance of a transition between numbers of batches, decades; infinite where one lacks it.

    Args:
        file: of a training.
        detector: `detect` or `replay`.
        sure: only transitions that have this confidence in the whole curve with one of the numbers count.
    """
    found = curves(file).values()
    counted = {item.phase for columns in found for item in detect(columns).transitions if item.confidence >= sure}
    timelines = [detector(columns) for columns in found]
    farthest = 0.0
    for phase in counted:
        starts = [start for timeline in timelines if (start := timeline.start(phase)) is not None]
        if len(starts) < len(timelines):
            return math.inf
        farthest = max(farthest, math.log10(max(starts) / min(starts)))
    return farthest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="train nothing")
    given = parser.parse_args()
    for run in TRAININGS:
        if not given.list and not file_of(run).exists():
            written(file_of(run), train(run), ("history", "by_batches"))
    print("| training | batches | points in each | offline | online |\n|---|---|---|---|---|")
    for run in filter(lambda run: file_of(run).exists(), TRAININGS):
        _tell(run)


def _tell(run: Run) -> None:
    points = json.loads(file_of(run).read_text())["points_per_batch"]
    for number, columns in curves(file_of(run)).items():
        cells = [_said(detector(columns)) for detector in (detect, replay)]
        print(f"| {run.problem}, {run.weighting} | {number} | {points[str(number)]:g} | {' | '.join(cells)} |")


def _said(timeline: Timeline) -> str:
    found = [f"{item.phase} {item.iteration} ({item.confidence:.2f})" for item in timeline.transitions]
    return ", ".join(found) or timeline.reason


if __name__ == "__main__":
    main()
