"""The paper's set-ups, as far as the time given allows: Allen-Cahn, Helmholtz and the cavity, uniform and rba.

    python -m benchmarks.paper --minutes 10     # or `make paper`; again, and it goes on where it stopped
    python -m benchmarks.paper --draw           # trains nothing: draws what is there

One process trains the six networks of the preset "paper" in turn (6 x 128 tanh, 25 600 points, 10 000 of the cavity,
all of them at each step, captured every 100 iterations), on a GPU if there is one. What is left of the time is shared
evenly among the networks that are not done; setting up counts. Each has a run folder of its own in the output, which
`phasecore report` reads, and is interrupted as by Ctrl-C, so that the next call goes on with the very next iteration.
The step is compiled on a GPU, and wherever a network's share is long enough for compiling to pay.

The picture has our curves over the authors' own, where these are at hand (see `benchmarks.detection`).
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection import recorded_cases
from phasecore.errors import TrainingError
from phasecore.phases import Curve
from phasecore.recording.folder import CONFIGURATION, open_run
from phasecore.recording.history import timeline_of
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore.runs.interruption import interrupt

PROBLEMS = ("allen_cahn", "helmholtz", "lid_driven_cavity")
WEIGHTINGS = ("uniform", "rba")
RECORDED = {"allen_cahn": "allen_cahn_rba", "helmholtz": "helmholtz_vanilla", "lid_driven_cavity": "cavity_vanilla"}
COMPILING_PAYS = 300.0
"""Seconds of a share on a CPU from which on compiling, about a minute, pays."""
PANELS = (("snr", "gradient SNR"), ("relative_l2_error", "relative L2 error"), ("residual_order", "residual order"))
COLOURS = {"uniform": "#3b6fb6", "rba": "#c8553d"}


def networks(problems: Sequence[str]) -> list[tuple[str, str]]:
    """Return the networks, in the order in which they are trained."""
    return list(itertools.product(problems, WEIGHTINGS))


def train(
    folder: Path, minutes: float, problems: Sequence[str] = PROBLEMS, compiled: bool | None = None, **settings: Any
) -> None:
    """Train each network for its share of the time, going on with those that are begun.

    Args:
        folder: where the run folders are, or are made.
        minutes: of all of them together.
        problems: names.
        compiled: None compiles where it helps.
        settings: that differ from the preset's, such as `points=64`; of runs that are begun they have to be the same.
    """
    until = time.monotonic() + 60.0 * minutes
    waiting = networks(problems)
    for place, (problem, weighting) in enumerate(waiting):
        share = (until - time.monotonic()) / (len(waiting) - place)
        helps = compiling_helps(share) if compiled is None else compiled
        told = train_one(folder / f"{problem}-{weighting}", problem, weighting, share, {**settings, "compiled": helps})
        print(f"{problem}, {weighting}: {told}", flush=True)


def train_one(folder: Path, problem: str, weighting: str, seconds: float, settings: Mapping[str, Any]) -> str:
    """Train a network for so long, and say how far it has come."""
    alarm = _Alarm(seconds)
    try:
        with alarm:
            resume = (folder / CONFIGURATION).exists()
            if resume:
                training = prepare_resumed(folder, problem=problem, weighting=weighting, **settings)
            else:
                training = prepare(
                    problem, weighting=weighting, preset="paper", backend="torch", output=folder, **settings
                )
            execute(training, resume=resume)
    except KeyboardInterrupt:
        if not alarm.rang:
            raise
    except TrainingError as error:
        return str(error)
    return _standing(folder)


class _Alarm:
    """Interrupts the training that goes on within it after some seconds, as Ctrl-C does."""

    def __init__(self, seconds: float) -> None:
        self.rang = False
        self._timer = threading.Timer(max(seconds, 0.0), self._ring)
        self._timer.daemon = True
        self._left = threading.Event()

    def _ring(self) -> None:
        while not self._left.is_set():
            self.rang = True
            try:
                interrupt()
            except KeyboardInterrupt:
                # while a training is set up nobody listens yet
                self.rang = False
                self._left.wait(0.01)
            else:
                return

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._timer.cancel()


def compiling_helps(share: float) -> bool:
    """Return whether a network is trained faster compiled, in so many seconds."""
    import torch

    return torch.cuda.is_available() or share > COMPILING_PAYS


def _standing(folder: Path) -> str:
    run = open_run(folder)
    if not run.history:
        return "no capture yet"
    done, seconds, error = (run.history[name][-1] for name in ("iteration", "seconds", "relative_l2_error"))
    rate = seconds / done * 1000.0
    return f"iteration {done:.0f}, {rate:.1f} ms each, error {error:.3g}; {timeline_of(run.recorded).reason}"


def draw(folder: Path, problems: Sequence[str], file: Path) -> None:
    """Draw what is there, a column of panels for each problem, over the authors' curves in grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    recorded = {case.name: case.curve for case in recorded_cases()}
    figure, panels = plt.subplots(
        len(PANELS),
        len(problems),
        figsize=(4.6 * len(problems), 8.0),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, problem in enumerate(problems):
        name = RECORDED.get(problem)
        if name in recorded:
            label = f"the authors', {name.rpartition('_')[-1]}"
            _curve(panels[:, column], recorded[name], {"color": "0.65", "label": label})
        for weighting, colour in COLOURS.items():
            place = folder / f"{problem}-{weighting}"
            if not (place / CONFIGURATION).exists() or not (run := open_run(place)).history:
                continue
            ours = Curve.from_columns(run.recorded)
            _curve(panels[:, column], ours, {"color": colour, "label": f"ours, {weighting}"})
            for found in timeline_of(run.recorded).transitions:
                for panel in panels[:, column]:
                    panel.axvline(found.iteration, color=colour, linewidth=0.8, linestyle=":")
        panels[0, column].set_title(problem.replace("_", " "))
        panels[0, column].legend(loc="lower left", fontsize=8)
        panels[-1, column].set_xlabel("iteration")
    for row, (name, label) in enumerate(PANELS):
        panels[row, 0].set(ylabel=label, xscale="log", yscale="linear" if name == "residual_order" else "log")
        for panel in panels[row]:
            panel.set_xscale("log")
    figure.suptitle("The paper's set-ups; dotted: where a phase begins in ours", fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _curve(panels: Sequence[Any], curve: Curve, style: Mapping[str, Any]) -> None:
    """Draw a curve's quantities where they were measured, each value the median of those around it."""
    for panel, (name, _) in zip(panels, PANELS, strict=True):
        ratio = curve.ratio("snr") if name == "snr" else None
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (
                np.divide(*ratio) if ratio is not None else curve.columns.get(name, np.full(curve.captures, np.nan))
            )
        there = np.isfinite(values) & (curve.iteration > 0)
        panel.plot(curve.iteration[there], _running_median(values[there]), linewidth=1.2, **style)


def _running_median(values: np.ndarray, half: int = 3) -> np.ndarray:
    if not values.size:
        return values
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all networks together")
    parser.add_argument(
        "--output", type=Path, default=Path("runs") / "paper", help="folder of the runs and the picture"
    )
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--compiled", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--draw", action="store_true", help="train nothing")
    for name in ("points", "width", "depth", "iterations"):
        parser.add_argument(f"--{name}", type=int, help="another than the paper's")
    given = parser.parse_args(arguments)
    problems = given.problems.split(",")
    others = {name: getattr(given, name) for name in ("points", "width", "depth", "iterations")}
    settings = {name: value for name, value in others.items() if value is not None}
    if not given.draw:
        compiled = {"auto": None, "yes": True, "no": False}[given.compiled]
        train(given.output, given.minutes, problems, compiled, **settings)
    draw(given.output, problems, given.output / "paper.png")
    print(f"picture: {given.output / 'paper.png'}")


if __name__ == "__main__":
    main()
