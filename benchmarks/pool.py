"""The pool of trainings that the studies read: each run is one small JSON file, and is never trained twice.

    python -m benchmarks.pool            # trains what is missing, in order of priority; goes on where it stopped
    python -m benchmarks.pool --list     # trains nothing: what is there, what is missing, how long that takes
    python -m benchmarks.pool --problems helmholtz --seeds 0 --minutes 30
    python -m benchmarks.pool --set-ups constant

`benchmarks.schemes` and `benchmarks.evidence` make their pages from these files. A file has the run's whole
configuration, so that a run of another set-up, of a preset that has changed since, counts as missing. Curves are stored
as measured, at each capture, with four significant digits (three by layer); phases are not: they are found in the
curves when a page is made.

Runs of another preset have its own interval of captures (`benchmarks.presets`). The set-ups "constant" are presets
that train at a constant rate, chosen with seeds 10 to 12: seeds 0 to 4 of the pair, 0 to 2 of `brdr`, `grad_norm` and
of the pair in mini-batches. Those called "middle" have the paper's equations, rates and schemes, and less of all else,
seed 0 of the pair first.

Fixed before anything of the pool was trained: the preset "quick" of each problem, captured every 20 iterations, torch,
float32, each scheme with its default options or those that the preset recommends; seeds 0 to 4 of uniform weights and
of residual-based attention, 0 to 2 of all others and of the runs in mini-batches, which take a quarter of the points at
each step, in a new order in each epoch.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import phasecore
from benchmarks.peers.results import machine
from phasecore import registry
from phasecore.backends import Settings, Training
from phasecore.errors import InputError, TrainingError
from phasecore.files import replacing
from phasecore.probes import DEFAULT_PROBES
from phasecore.problems.coefficients import Trained
from phasecore.recording.folder import slug
from phasecore.runs import execute, prepare

POOL = Path(__file__).parent / "results" / "pool"
PROBLEMS = ("helmholtz", "burgers", "allen_cahn", "lid_driven_cavity")
CONSTANT = {"helmholtz": "phases", "burgers": "phases", "lid_driven_cavity": "regularized"}
"""Presets that train at a constant rate; "phases" are those that get to total diffusion."""
MIDDLE: dict[str, int] = {"points": 2500, "width": 64, "depth": 4, "iterations": 20_000, "every": 50}
"""What takes the place of the presets "paper", of 10 000 or 25 600 points, 6 x 128, and 300 000 iterations."""
PAIR, BY_HAND = ("uniform", "rba"), ("fixed",)
OTHERS = ("brdr", "grad_norm")
"""Schemes beside the pair that the set-ups "constant" are trained with: one weights points, one balances terms."""
CAME_LATER = (("processes", 1), ("precision", None))
"""Settings that results were stored without."""
SEEDS_OF_PAIR, SEEDS_OF_OTHERS = (0, 1, 2, 3, 4), (0, 1, 2)
PROBES = (*DEFAULT_PROBES, "adam_learning_rates:per_layer=False", "saturation", "layer_entropy")
BATCHES_AN_EPOCH, EVERY = 4, 20
UNSTORED = (
    "gradient_order",
    "gradient_std_norm",
    "learning_rate",
    "seconds",
    "adam_first_moment_norm",
    "adam_second_moment_root_norm",
)
"""Columns that follow from others, such as the gradient order, `snr / sqrt(1 + snr^2)`."""

Steps = Literal["all points", "mini-batches"]
SetUps = Literal["quick", "constant", "middle"]


@dataclass(frozen=True)
class Run:
    """One training of the pool.

    Example:
        >>> Run("burgers", "rba", 3).file.name
        'burgers-rba-seed3.json'
    """

    problem: str
    weighting: str
    seed: int
    steps: Steps = "all points"
    preset: str = "quick"

    @property
    def file(self) -> Path:
        """Where it is kept once it is trained."""
        parts = [self.problem, slug(self.weighting), *(["batches"] if self.steps == "mini-batches" else [])]
        parts += [self.preset] if self.preset != "quick" else []
        return POOL / f"{'-'.join(parts)}-seed{self.seed}.json"

    def training(self) -> Training:
        """Return the training as it is started now.

        Raises:
            InputError: if the problem has nothing that the scheme needs.
        """
        preset = "paper" if self.preset == "middle" else self.preset
        instead = {"quick": {"every": EVERY}, "middle": MIDDLE}.get(self.preset, {})
        return prepare(
            self.problem, weighting=self.weighting, preset=preset, backend="torch", seed=self.seed, probes=PROBES,
            **instead,
        )  # fmt: skip


def settings_stored(settings: Settings) -> dict[str, Any]:
    """Return settings as results are stored with, which those that came later and change nothing leave as they were."""
    return {name: value for name, value in asdict(settings).items() if (name, value) not in CAME_LATER}


def configuration(run: Run, training: Training) -> dict[str, Any]:
    """Return all that decides what a run measures."""
    return {
        "problem": run.problem,
        "parameters": {
            name: str(value) if isinstance(value, Trained) else value
            for name, value in training.problem.parameters.items()
            if value is not None
        },
        "weighting": training.scheme_name,
        "steps": run.steps,
        "settings": settings_stored(training.settings),
        "probes": [probe if isinstance(probe, str) else probe.name for probe in PROBES],
    }


def result(run: Run) -> dict[str, Any] | None:
    """Return what is kept of a run, or None if it was not trained with the set-up of now."""
    if not run.file.exists():
        return None
    kept: dict[str, Any] = json.loads(run.file.read_text())
    return kept if kept["configuration"] == configuration(run, run.training()) else None


def applies(problem: str, scheme: str) -> bool:
    """Say whether a problem has what a scheme needs, such as a time."""
    try:
        Run(problem, scheme, 0).training()
    except InputError:
        return False
    return True


@functools.cache
def planned(set_ups: SetUps = "quick") -> tuple[Run, ...]:
    """Return all runs of the studies in some set-ups, those first that are wanted first."""
    return tuple({"quick": _in_order, "constant": _at_constant_rate, "middle": _of_middle_size}[set_ups]())


def _of_middle_size() -> Iterator[Run]:
    for seed in SEEDS_OF_OTHERS:
        yield from (Run(problem, scheme, seed, preset="middle") for problem in PROBLEMS for scheme in PAIR)


def _at_constant_rate() -> Iterator[Run]:
    kinds: list[tuple[str, Steps]] = [*((scheme, "mini-batches") for scheme in PAIR)]
    kinds += [(scheme, "all points") for scheme in OTHERS]
    for seed in SEEDS_OF_PAIR:
        yield from (Run(name, scheme, seed, preset=preset) for name, preset in CONSTANT.items() for scheme in PAIR)
        if seed in SEEDS_OF_OTHERS:
            places = [(name, preset, *kind) for name, preset in CONSTANT.items() for kind in kinds]
            yield from (Run(name, scheme, seed, steps, preset) for name, preset, scheme, steps in places)


def _in_order() -> Iterator[Run]:
    others = [name for name in registry.names("weighting") if name not in (*PAIR, *BY_HAND)]
    places = [(scheme, problem) for scheme in others for problem in PROBLEMS if applies(problem, scheme)]
    pairs = [(scheme, problem) for problem in PROBLEMS for scheme in PAIR]
    yield from (Run(problem, scheme, 0) for scheme, problem in [*pairs, *places])
    for seed in SEEDS_OF_PAIR[1:]:
        yield from (Run(problem, scheme, seed) for scheme, problem in pairs)
        if seed in SEEDS_OF_OTHERS:
            yield from (Run(problem, scheme, seed, "mini-batches") for scheme, problem in pairs)
        if seed == 1:
            yield from (Run(problem, scheme, 0, "mini-batches") for scheme, problem in pairs)
    for seed in SEEDS_OF_OTHERS[1:]:
        yield from (Run(problem, scheme, seed) for scheme, problem in places)


def train(run: Run) -> dict[str, Any]:
    """Train one network, and return what is kept of it."""
    training = run.training()
    kept = {
        "configuration": configuration(run, training),
        "versions": {"phasecore": phasecore.__version__, **registry.backend("torch").versions()},
        "machine": machine_of_now(),
    }
    began, worked = time.perf_counter(), time.process_time()
    try:
        rows = execute(training).rows if run.steps == "all points" else _in_mini_batches(training)
    except TrainingError as error:
        return {**kept, "diverged": str(error)}
    return {
        **kept,
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time() - worked, 1),
        "history": as_columns(rows),
    }


def train_missing(runs: Sequence[Run], minutes: float = math.inf) -> None:
    """Train and store those of some runs that are not there, one after the other; begin none after so many minutes."""
    until = time.monotonic() + 60 * minutes
    for number, run in enumerate(runs, start=1):
        if result(run) is not None:
            continue
        if time.monotonic() > until:
            break
        kept = train(run)
        store(run, kept)
        errors = kept.get("history", {}).get("relative_l2_error", [None])
        told = kept.get("diverged") or f"{kept['seconds']:.0f} s, error {errors[-1]}"
        print(f"{number} of {len(runs)}, {run.file.name}: {told}", flush=True)


def store(run: Run, kept: Mapping[str, Any]) -> None:
    """Write a result, a column of its history on each line."""
    written(run.file, kept, ("history",))


def written(file: Path, kept: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Write a JSON document of which some parts are columns, or columns by name, a column on each line."""
    rest = json.dumps({name: value for name, value in kept.items() if name not in columns}, indent=1, allow_nan=False)
    parts = [f' "{name}": {_on_lines(kept[name])}' for name in columns if kept.get(name)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as stream:
        stream.write((",\n".join([rest[:-2], *parts]) + "\n}\n").encode())


def _on_lines(columns: Mapping[Any, Any], depth: int = 2) -> str:
    margin = depth * " "
    lines = [
        f"{margin}{json.dumps(str(name))}: "
        + (_on_lines(own, depth + 1) if isinstance(own, Mapping) else json.dumps(own, separators=(",", ":")))
        for name, own in columns.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{margin[1:]}}}"


def _in_mini_batches(training: Training) -> Sequence[Mapping[str, Any]]:
    """Train with a part of the points at each step; the captures are of all points, as in a whole-batch run."""
    import torch

    from phasecore_torch import PhaseMonitor, PhysicsLoss
    from phasecore_torch.training import network

    settings, problem = training.settings, training.problem
    model = network(len(problem.coordinates), len(problem.outputs), settings)
    loss = PhysicsLoss(problem, model, training.points, weighting=training.schemes)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, settings.decay_interval, settings.decay_factor)
    monitor = PhaseMonitor(loss, optimizer, every=settings.every, probes=training.probes, batches=settings.batches)
    generator = torch.Generator().manual_seed(settings.seed)
    size = math.ceil(settings.points / BATCHES_AN_EPOCH)
    batches: list[torch.Tensor] = []
    for _ in range(settings.iterations):
        batches = batches or list(torch.randperm(settings.points, generator=generator).split(size))
        optimizer.zero_grad()
        torch.autograd.backward(loss(batches.pop()))
        optimizer.step()
        scheduler.step()
        monitor.step()
    return monitor.history


def as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of a history that are stored, their numbers rounded."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if _is_stored(name)]
    return {name: [_short(row.get(name), 3 if name.startswith("layer") else 4) for row in rows] for name in names}


def _is_stored(name: str) -> bool:
    return name not in UNSTORED and not name.startswith("weighted_loss_")


def _short(value: Any, digits: int) -> Any:
    if value is None or isinstance(value, int):
        return value
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def machine_of_now() -> dict[str, Any]:
    """Return the machine, and how fast its core is just now."""
    return {**machine(), "gigaflops_a_core": round(_gigaflops())}


def _gigaflops(size: int = 1000, times: int = 10) -> float:
    """Return the speed of matrix products of this process, per second of its processor time."""
    import torch

    matrix = torch.ones(size, size)
    began = time.process_time()
    for _ in range(times):
        matrix @ matrix
    return 2e-9 * size**3 * times / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--schemes", default="all")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS_OF_PAIR)))
    parser.add_argument("--set-ups", choices=get_args(SetUps), default="quick")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further run after so many")
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing")
    given = parser.parse_args()
    wanted = [
        run
        for run in planned(given.set_ups)
        if run.problem in given.problems.split(",")
        and (given.schemes == "all" or run.weighting in given.schemes.split(","))
        and str(run.seed) in given.seeds.split(",")
    ]
    if given.list:
        _tell(wanted, {run: found for run in wanted if (found := result(run)) is not None})
        return
    train_missing(wanted, given.minutes)


def _tell(wanted: Sequence[Run], there: Mapping[Run, Mapping[str, Any]]) -> None:
    """Print what is there, and estimate what is missing from the runs of the same problem."""
    left = 0.0
    for problem in PROBLEMS:
        own = [run for run in wanted if run.problem == problem]
        times = [there[run]["processor_seconds"] for run in own if "processor_seconds" in there.get(run, {})]
        missing = sum(run not in there for run in own)
        mean = sum(times) / len(times) if times else math.nan
        left += missing * mean if missing else 0.0
        print(f"{problem}: {len(own) - missing} of {len(own)} runs, {mean:.0f} s of processor time each")
    print(f"left: {left / 3600:.1f} hours of processor time")


if __name__ == "__main__":
    main()
