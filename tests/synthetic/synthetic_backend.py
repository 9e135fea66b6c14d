"""An installed third-party backend that trains nothing: its history is a formula, so tests of runs are quick.

The environment variable SYNTHETIC_STOP, "HOW:ITERATION", ends a training early: "kill" as `kill -9` would, with a
half-written line, "kill_once" if it has not been gone on with; "interrupt" as Ctrl-C; "fail" with a TrainingError,
"break" with an error of no kind of ours. With SYNTHETIC_ONLY that befalls the run in the folder of that name alone.
With SYNTHETIC_PAUSE each iteration takes so many seconds. With SYNTHETIC_HALT the fall of the SNR halts for a while,
which looks like its end. With SYNTHETIC_NO_ERROR no error is recorded. SYNTHETIC_THREADS names a file that hears of
thread limits.
"""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from phasecore import Entry, InputError, TrainingError, hookimpl
from phasecore.backends import Backend, Observer, Training
from phasecore.recording.schedule import is_due
from phasecore.signals import DESCRIPTIONS

CHECKPOINT_INTERVAL = 100
HALTING = np.log10([[1, 26, 40, 45, 70, 400], [1e4, 1.0, 0.97, 0.8, 0.07, 0.1]])
"""Iterations and SNR."""
CALLS: list[bool] = []
"""Whether each call of `train` resumed."""


@hookimpl
def phasecore_entries() -> Iterable[Entry]:
    return [
        Entry("backend", "synthetic", "synthetic_backend:SyntheticBackend"),
        Entry("backend", "deaf", "synthetic_backend:DeafBackend"),
        Entry("backend", "acting", "synthetic_backend:ActingBackend"),
        Entry("backend", "absent", "nowhere:Backend", needs=("not_a_package",), extra="synthetic-backend[absent]"),
    ]


class SyntheticBackend(Backend):
    name = "synthetic"
    supplies = frozenset(DESCRIPTIONS)

    def train(self, training: Training, observer: Observer, checkpoint: Path | None, *, resume: bool) -> None:
        CALLS.append(resume)
        print("a framework that prints to standard output")
        state = None if checkpoint is None else checkpoint / "state.json"
        start, stopped = 0, False
        if resume:
            if state is None or not state.exists():
                raise InputError("no state to resume from")
            saved = json.loads(state.read_text())
            start = saved["iteration"]
            observer.resumed(start)
            if training.policies:
                stopped = saved["stopped"]
                observer.restore_policies(saved["policies"])
        how, _, at = os.environ.get("SYNTHETIC_STOP", "").partition(":")
        if os.environ.get("SYNTHETIC_ONLY") not in (None, training.folder and training.folder.name):
            how = ""
        pause = float(os.environ.get("SYNTHETIC_PAUSE", "0"))
        for iteration in range(start + 1, training.settings.iterations + 1):
            if stopped:
                break
            last = iteration == training.settings.iterations
            if how and iteration == int(at) and not (how == "kill_once" and resume):
                _stop(how, training)
            if pause:
                time.sleep(pause)
            if is_due(iteration, training.settings.every) or last:
                observer.captured(synthetic_row(training, iteration))
                if training.policies:
                    stopped = "stop" in [action.name for action in observer.decided()]
            if iteration % 7 == 0:
                observer.progressed(iteration, 1.0 / (1 + iteration))
            if iteration in training.snapshots:
                observer.snapshot(iteration, {"u": np.full(4, float(iteration))})
            if state is not None and (iteration % CHECKPOINT_INTERVAL == 0 or last or stopped):
                saved = {"iteration": iteration, "stopped": stopped}
                saved |= {"policies": observer.policy_state()} if training.policies else {}
                state.write_text(json.dumps(saved))

    def versions(self) -> Mapping[str, str]:
        return {"synthetic": "1.0"}

    def limit_threads(self, count: int) -> None:
        if "SYNTHETIC_THREADS" in os.environ:
            with Path(os.environ["SYNTHETIC_THREADS"]).open("a") as stream:
                stream.write(f"{os.getpid()} {count}\n")


class DeafBackend(SyntheticBackend):
    name = "deaf"
    supplies = frozenset(DESCRIPTIONS) - {"batch_gradient_moments"}


class ActingBackend(SyntheticBackend):
    """It has policies end a training; of their other actions nothing comes but the record."""

    name = "acting"
    actions = frozenset(
        {"stop", "snapshot", "scale_learning_rate", "switch_optimizer:adam", "switch_optimizer:lbfgs", "hold_weighting"}
    )


def synthetic_row(training: Training, iteration: int) -> dict[str, Any]:
    """A signal-to-noise ratio that falls, stays low, and rises two decades; sooner under a scheme that weights."""
    rise = 600 if training.scheme_name == "uniform" else 300
    depth = 1.0 / (1.0 + math.exp(-(math.log10(iteration + 1) - 1.3) * 8))
    recovery = 1.0 / (1.0 + math.exp(-(math.log10(iteration + 1) - math.log10(rise)) * 25))
    wobble = 0.05 * math.sin(12.9898 * iteration + training.settings.seed)
    snr = 10.0 ** (1.0 - 2.0 * depth + 2.2 * recovery + wobble)
    if "SYNTHETIC_HALT" in os.environ:
        snr = 10.0 ** float(np.interp(math.log10(iteration), *HALTING))
    row = {
        "iteration": iteration,
        "seconds": 0.01 * iteration,
        "snr": math.inf if iteration == 1 else snr,
        "gradient_order": snr / math.hypot(1.0, snr),
        "gradient_mean_norm": snr,
        "gradient_std_norm": 0.0 if iteration == 1 else 1.0,
        "residual_order": np.float32(0.5 + 0.4 * recovery),
        "training_loss": 10.0 / (1 + iteration),
        "relative_l2_error": np.float64(1.0 / (1.0 + 9 * recovery)),
        "loss_pde": math.nan,
    }
    if not training.problem.has_reference or "SYNTHETIC_NO_ERROR" in os.environ:
        del row["relative_l2_error"]
    return row


def _stop(how: str, training: Training) -> None:
    if how in ("kill", "kill_once"):
        assert training.folder is not None
        with (training.folder / "history.jsonl").open("a") as stream:
            stream.write('{"iteration": 999, "snr": 0.')
        os._exit(9)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "break":
        raise ZeroDivisionError("a fault of the backend's own")
    raise TrainingError("training", received="a loss of nan", expected="a finite loss")
