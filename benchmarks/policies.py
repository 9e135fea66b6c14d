"""When to leave Adam for L-BFGS, and with which weights: the trainings of the study of policies.

    python -m benchmarks.policies                   # trains what is missing, in order of priority; hours
    python -m benchmarks.policies --list            # trains nothing: what is there, what is missing
    python -m benchmarks.policies --problems burgers --seeds 0 --minutes 60
    python -m benchmarks.policies --narrow          # only what the built-in policy may do, for lack of hours
    python -m benchmarks.policy_study               # makes docs/policy_study.md of what is there

A job is a problem, a start scheme and a seed: one training with Adam, of the quick preset's iterations, whose processor
time is the budget of all others. Where a rule would switch, the process forks: the copy waits until Adam is done and
the budget is known, and then goes on from exactly there with L-BFGS for what is left of it. So all of a job have the
same Adam behind them, the same core, and the same time, captures included.

Fixed before any was trained: seeds 0 to 2 are reported, 10 and 11 are for tuning; `LATER`, the problems kept aside,
were not tuned on; a rule that never switches has the result of Adam alone; the error is the median of the captures in
the last twentieth of the time, as single captures oscillate.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import phasecore
from benchmarks.pool import machine_of_now, settings_stored, written
from phasecore.phases import Phase, Timeline
from phasecore.policies import (
    Action,
    Policy,
    Row,
    Stop,
    SwitchOptimizer,
)
from phasecore.policies.quasi_newton import on_weights
from phasecore.quasi_newton.inverse_hessian import MEMORY
from phasecore.runs import execute, prepare

RESULTS = Path(__file__).parent / "results" / "policies"
TUNED, LATER = ("helmholtz", "burgers", "allen_cahn", "lid_driven_cavity"), ("wave", "kdv")
STARTS = ("uniform", "rba")
SEEDS, TUNING_SEEDS = (0, 1, 2), (10, 11)
WEIGHTS = ("updated", "held", "averaged", "uniform")
SHARES = (0.1, 0.25, 0.5, 0.75)
OF_POLICY, OWN = ("diffusion declared", "share 0.1", "share 0.25"), "averaged"
"""Rules that the built-in policy goes by, and what becomes of the weights by default."""

PATIENCES = (100, 300, 900)
"""Iterations in which the unweighted loss has not fallen by `GAIN` below its lowest so far."""

GAIN = 0.02
LAST_SHARE = 0.05
CURVE = ("iteration", "processor_seconds", "relative_l2_error", "unweighted_loss", "snr", "evaluations")


class Nothing(NamedTuple):
    """What a policy of the study remembers in the run: it keeps its own books."""


class Rule(NamedTuple):
    """When a switch is made.

    Attributes:
        name: as in the results.
        due: `due(timeline, row) -> bool`, asked after each capture until it says yes.
    """

    name: str
    due: Callable[[Timeline, Row], bool]


def rules(iterations: int) -> list[Rule]:
    """Return all rules of the study, made anew for one training of so many iterations."""

    def share(of: float) -> Rule:
        return Rule(f"share {of:g}", lambda timeline, row: row["iteration"] >= of * iterations)

    def phase(of: Phase) -> Rule:
        return Rule(f"{of.replace('_', ' ')} declared", lambda timeline, row: timeline.start(of) is not None)

    return [
        *map(share, SHARES),
        *(Rule(f"plateau {patience}", Plateau(patience)) for patience in PATIENCES),
        phase(Phase.DIFFUSION),
        phase(Phase.TOTAL_DIFFUSION),
    ]


@dataclass
class Plateau:
    """The usual rule of patience, as torch's `ReduceLROnPlateau` has it, on the unweighted loss.

    Example:
        >>> rule = Plateau(100)
        >>> seen = [(0, 1.0), (60, 0.5), (120, 0.5), (160, 0.6)]
        >>> [rule(None, {"iteration": iteration, "unweighted_loss": loss}) for iteration, loss in seen]
        [False, False, False, True]
    """

    patience: int
    lowest: float = math.inf
    at: float = 0.0

    def __call__(self, timeline: Timeline | None, row: Row) -> bool:
        """Say whether the loss has stood still for long enough."""
        loss = row.get("unweighted_loss", math.nan)
        if loss < (1 - GAIN) * self.lowest:
            self.lowest, self.at = loss, row["iteration"]
        return row["iteration"] - self.at >= self.patience


@dataclass(frozen=True)
class Job:
    """One training with Adam, and all that branch off it.

    Example:
        >>> Job("burgers", "rba", 0).file.name
        'burgers-rba-seed0.json'
    """

    problem: str
    start: str
    seed: int
    iterations: int | None = None
    points: int | None = None
    narrow: bool = False

    @property
    def file(self) -> Path:
        """Where its results are kept."""
        return RESULTS / f"{self.problem}-{self.start}-seed{self.seed}{'-narrow' if self.narrow else ''}.json"

    @property
    def weights(self) -> tuple[str, ...]:
        """What may become of the weights at the switch."""
        if self.start == "uniform":
            return WEIGHTS[:1]
        return (OWN,) if self.narrow else WEIGHTS


@dataclass
class Branch:
    """A copy of the training that waits for its turn: `go` writes to it what time it has, `told` is what it says."""

    name: str
    pid: int
    go: int
    told: int
    began: Mapping[str, float] = field(default_factory=dict)

    def result(self, budget: float) -> dict[str, Any]:
        """Let it train until the budget is used up, and return what it measured."""
        os.write(self.go, f"{budget}\n".encode())
        os.close(self.go)
        with os.fdopen(self.told, "rb") as stream:
            text = stream.read()
        os.waitpid(self.pid, 0)
        return json.loads(text) if text else {"failed": "the process ended without a word"}


@dataclass
class Study:
    """The policy that every training of a job has: forks where a rule says so, and ends each at its time.

    Attributes:
        job: what is trained.
        iterations: those of Adam alone.
    """

    job: Job
    iterations: int
    rules: list[Rule]
    branches: list[Branch] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    answer: int | None = None
    budget: float = math.inf
    used: float = 0.0
    clock: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        """Processor time of this training so far, of the Adam behind it too; waiting costs none."""
        return self.used + time.process_time() - self.clock

    def policy(self) -> Policy:
        """Return it as a policy."""
        asked = {"switch_optimizer:lbfgs", "hold_weighting", "average_weighting", "change_weighting:uniform", "stop"}
        return Policy(Nothing, self.update, frozenset(asked))

    def update(self, timeline: Timeline, row: Row, state: Nothing) -> tuple[Sequence[Action], Nothing]:
        """Note what was measured, fork where it is time, stop where the time is over."""
        self.curve.append({"processor_seconds": self.seconds, **row})
        if self.answer is not None:
            return (Stop(reason="the time is over"),) if self.seconds >= self.budget else (), state
        for rule in [rule for rule in self.rules if rule.due(timeline, row)]:
            self.rules.remove(rule)
            for weights in self.job.weights:
                if (actions := self._fork(rule, weights, row)) is not None:
                    return actions, state
        return (Stop(reason="all iterations"),) if row["iteration"] >= self.iterations else (), state

    def _fork(self, rule: Rule, weights: str, row: Row) -> Sequence[Action] | None:
        """Return None in the training that goes on with Adam, and in the copy what it is to do, once it is its turn."""
        used, (waits, go), (told, answer) = self.seconds, os.pipe(), os.pipe()
        if pid := os.fork():
            os.close(waits)
            os.close(answer)
            began = {"iteration": row["iteration"], "processor_seconds": round(used, 2)}
            self.branches.append(Branch(f"{rule.name}, {weights}", pid, go, told, began))
            return None
        for other in self.branches:
            os.close(other.go)
            os.close(other.told)
        os.close(go)
        os.close(told)
        self.answer, self.branches = answer, []
        with os.fdopen(waits, "rb") as stream:
            line = stream.readline()
        if not line:
            os._exit(1)
        self.budget, self.used, self.clock = float(line), used, time.process_time()
        return (SwitchOptimizer("lbfgs", reason=rule.name), *on_weights(weights))


def configuration(job: Job, settings: Any) -> dict[str, Any]:
    """Return all that decides what a job measures, but for the code."""
    fixed = {"shares": SHARES, "patiences": PATIENCES, "gain": GAIN, "last_share": LAST_SHARE, "weights": job.weights}
    own = {name: value for name, value in asdict(job).items() if name != "narrow" or value}
    return json.loads(json.dumps({"job": own, "settings": settings_stored(settings), **fixed}))


def prepared(job: Job, policy: Policy | None = None) -> Any:
    """Return a job's training, of the preset's iterations; with a policy, which ends it, of many times as many."""
    own = {name: value for name, value in (("iterations", job.iterations), ("points", job.points)) if value}
    training = prepare(job.problem, weighting=job.start, backend="torch", seed=job.seed, **own)
    if policy is None:
        return training
    own["iterations"] = 20 * training.settings.iterations
    return prepare(job.problem, weighting=job.start, backend="torch", seed=job.seed, policy=policy, **own)


def train(job: Job) -> dict[str, Any]:
    """Train a job, Adam first and then each of the copies, and return what is kept."""
    settings = prepared(job).settings
    chosen = [rule for rule in rules(settings.iterations) if not job.narrow or rule.name in OF_POLICY]
    study = Study(job, settings.iterations, chosen)
    study.clock = time.process_time()
    outcome = _outcome(study, prepared(job, study.policy()))
    if study.answer is not None:
        with os.fdopen(study.answer, "wb") as stream:
            stream.write(json.dumps(outcome).encode())
        os._exit(0)
    found = {"adam": outcome}
    for branch in study.branches:
        found[branch.name] = {"began": branch.began, **branch.result(outcome["processor_seconds"])}
    return {
        "configuration": configuration(job, settings),
        "versions": {"phasecore": phasecore.__version__, "lbfgs_pairs": MEMORY},
        "machine": machine_of_now(),
        "results": found,
    }


def _outcome(study: Study, training: Any) -> dict[str, Any]:
    """Execute a training, and return what is kept of it: the last error, and a curve of a hundred captures at most."""
    try:
        actions = execute(training).actions
    except Exception:
        return {"failed": traceback.format_exc(limit=-3), "processor_seconds": study.seconds}
    curve, end = study.curve, study.curve[-1]["processor_seconds"]
    late = [row["relative_l2_error"] for row in curve if row["processor_seconds"] >= (1 - LAST_SHARE) * end]
    kept = curve[:: max(1, len(curve) // 60)]
    return {
        "processor_seconds": round(end, 2),
        "iterations": int(curve[-1]["iteration"]),
        "error": _middle(late),
        "actions": [f"{acted.iteration}: {acted.action}, {acted.reason}" for acted in actions],
        "curve": {name: [_short(row.get(name)) for row in kept] for name in CURVE},
    }


def _middle(values: Sequence[float]) -> float | None:
    finite = sorted(value for value in values if math.isfinite(value))
    return _short(finite[len(finite) // 2]) if finite else None


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def result(job: Job) -> dict[str, Any] | None:
    """Return what is kept of a job, or None if it was not trained with the set-up and the L-BFGS of now."""
    if not job.file.exists():
        return None
    kept: dict[str, Any] = json.loads(job.file.read_text())
    of_now = kept["configuration"] == configuration(job, prepared(job).settings)
    return kept if of_now and kept["versions"].get("lbfgs_pairs") == MEMORY else None


def planned() -> list[Job]:
    """Return all jobs, those first that are wanted first."""
    reported = [Job(problem, start, seed) for seed in SEEDS for problem in (*TUNED, *LATER) for start in STARTS]
    return [*reported, *(Job(problem, start, seed) for seed in TUNING_SEEDS for problem in TUNED for start in STARTS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join((*TUNED, *LATER)))
    parser.add_argument("--seeds", default=",".join(map(str, (*SEEDS, *TUNING_SEEDS))))
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--narrow", action="store_true", help="only the branches that `quasi_newton` may take")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further job after so many")
    parser.add_argument("--list", action="store_true", help="say what is there and what is missing")
    given = parser.parse_args()
    problems, starts, seeds = (chosen.split(",") for chosen in (given.problems, given.starts, given.seeds))
    wanted = [job for job in planned() if job.problem in problems and job.start in starts and str(job.seed) in seeds]
    wanted = [replace(job, narrow=given.narrow) for job in wanted]
    if given.list:
        for job in wanted:
            print(f"{job.file.name}: {'missing' if result(job) is None else 'there'}")
        return
    until = time.monotonic() + 60 * given.minutes
    for job in wanted:
        if result(job) is None and time.monotonic() < until:
            kept = train(job)
            written(job.file, kept, ("results",))
            told = {name: own.get("error", own.get("failed")) for name, own in kept["results"].items()}
            print(job.file.name, json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
