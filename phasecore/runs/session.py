"""The loop of a training that phasecore drives, once for all backends: captures, snapshots, checkpoints, Ctrl-C."""

from __future__ import annotations

import json
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Observer, PolicyObserver, Training
from phasecore.errors import InputError
from phasecore.files import replacing
from phasecore.policies.actions import Action, Call, Resample, Snapshot, Stop
from phasecore.probes import Probe
from phasecore.recording.acting import call, may_resample
from phasecore.recording.record import refused
from phasecore.recording.schedule import Schedule
from phasecore.recording.untrusted import parsed
from phasecore.runs.interruption import Interruption, noticed_between_iterations
from phasecore.sampling import Resampler, uniform

SECONDS_BETWEEN_CHECKPOINTS = 30.0
ITERATIONS_BETWEEN_CHECKS = 50
EXPECTED = "the state of a training with the same network, optimizer and weighting"


class Session(ABC):
    """The parts of one training, and where it stands. A backend derives from it.

    Args:
        training: what is trained.

    Attributes:
        iteration: how many are done, in all sessions of the run together.
        seconds: training time, likewise, as told last.
        loaded: whether it goes on from a saved state.
        resampler: says when and where points move; None where they stay.
        stopped: whether a policy has ended it.
        evaluations: of the loss and its gradient by the optimizers, in all; None as long as each iteration has one.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.iteration = 0
        self.seconds = 0.0
        self.loaded = False
        self.resampler = resampler_of(training)
        self.stopped = False
        self.evaluations: int | None = None
        self._observer: PolicyObserver | None = None
        self._policies: Mapping[str, Any] = {}

    @abstractmethod
    def step(self) -> Any:
        """Make one iteration, and return its loss, a number or a scalar tensor."""

    @abstractmethod
    def check(self, loss: Any) -> None:
        """Refuse to go on with weights or a loss that are not finite.

        Raises:
            TrainingError: naming the iteration and what was lost first.
            PluginError: for weights that are not finite where all else is.
        """

    @abstractmethod
    def interior(self) -> NDArray[np.float64]:
        """Return where the collocation points are, shape (n, dimension)."""

    @abstractmethod
    def move(self, resampler: Resampler) -> None:
        """Move the collocation points."""

    @abstractmethod
    def learning_rate(self) -> float | None:
        """Return the learning rate of the next iteration, or None where the optimizer in charge has none."""

    @abstractmethod
    def measure(self, due: Sequence[Probe]) -> Mapping[str, float]:
        """Return the scalars of those of the training's probes that are due."""

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return fields, residuals and weights by name, for a snapshot."""

    @abstractmethod
    def carry_out(self, action: Action) -> None:
        """Do what a policy asks for: what the backend declares, but for what needs no framework."""

    @abstractmethod
    def write(self, stream: BinaryIO, standing: Mapping[str, Any]) -> None:
        """Write the state of all parts, and where the training stands: plain values, as JSON has them."""

    @abstractmethod
    def read(self, file: Path) -> Mapping[str, Any]:
        """Restore the state of all parts, and return where the training stood."""

    def agreed(self, wishes: Sequence[bool]) -> Sequence[bool]:
        """Return what is to be done after an iteration, where processes that train together may wish for different.

        Args:
            wishes: of this process.
        """
        return wishes

    def run(self, observer: Observer, file: Path | None) -> None:
        """Train to the end, telling the observer and saving checkpoints, the first before the first iteration.

        Ctrl-C waits for the end of the iteration and saves its state; nothing is saved where an exception interrupts
        an iteration: a saved state is always that of a whole iteration.

        Args:
            observer: hears of captures and snapshots, and from which iteration a saved state goes on.
            file: the checkpoint, or None to save nothing.

        Raises:
            InputError: before the first iteration, if the first checkpoint cannot be saved. A later one that cannot be
                is told to the observer.
        """
        with noticed_between_iterations() as interruption:
            self._run(observer, file, interruption)

    def _run(self, observer: Observer, file: Path | None, interruption: Interruption) -> None:
        settings, snapshots = self.training.settings, set(self.training.snapshots)
        schedule = Schedule(settings.every, self.training.probes)
        if self.training.policies:
            self._observer = cast(PolicyObserver, observer)
        if self.loaded and hasattr(observer, "resumed"):
            observer.resumed(self.iteration)
        if self._observer is not None and self._policies:
            try:
                self._observer.restore_policies(self._policies)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                received = f"{type(error).__name__}: {error}"
                raise InputError(
                    "resuming: the policies in the saved state", received=received, expected=EXPECTED
                ) from error
        began = time.perf_counter() - self.seconds
        with refused(Path() if file is None else file, "the first checkpoint"):
            self._save(file)
        saved = time.perf_counter()
        while self.iteration < settings.iterations and not self.stopped:
            if self.resampler is not None and self.resampler.is_due(self.iteration):
                self.move(self.resampler)
            value = self.step()
            self.iteration += 1
            is_last = self.iteration == settings.iterations
            due = self.training.probes if is_last else schedule.due(self.iteration)
            snapshot = self.iteration in snapshots
            if due is not None or snapshot or self.iteration % ITERATIONS_BETWEEN_CHECKS == 0:
                self.check(value)
                self.seconds = time.perf_counter() - began
                observer.progressed(self.iteration, float(value))
            if due is not None:
                rates: dict[str, float | None] = {
                    "learning_rate": self.learning_rate(),
                    "points": None if self.resampler is None else len(self.interior()),
                    "evaluations": self.evaluations,
                }
                measured = self.measure(due)
                self.seconds = time.perf_counter() - began
                row = {"iteration": self.iteration, **{name: rate for name, rate in rates.items() if rate is not None}}
                row |= {"seconds": self.seconds, **measured}
                observer.captured(row)
                snapshot |= self._act(row)
            if snapshot or self.stopped:
                observer.snapshot(self.iteration, self.arrays())
            is_old = time.perf_counter() - saved > SECONDS_BETWEEN_CHECKPOINTS
            interrupted, is_old = self.agreed([interruption.came, is_old])
            if interrupted or is_old:
                self.seconds = time.perf_counter() - began
                self._save_if_possible(file, observer)
                saved = time.perf_counter()
            if interrupted:
                raise KeyboardInterrupt
        self._save_if_possible(file, observer)

    def went_back(self, iteration: int, optimizer: str, reason: str) -> None:
        """Hear that an optimizer failed in the iteration after this one, and which one goes on from where it began."""
        assert self._observer is not None
        self._observer.went_back(iteration, optimizer, reason)

    def _act(self, row: Mapping[str, Any]) -> bool:
        """Carry out what policies decided, and return whether they want a snapshot."""
        if self._observer is None:
            return False
        decided = self._observer.decided()
        for action in decided:
            if isinstance(action, Stop):
                self.stopped = True
            elif isinstance(action, Call):
                call(action, self._observer.timeline, row)
            elif isinstance(action, Resample):
                assert self.resampler is not None
                self.move(self.resampler)
            elif not isinstance(action, Snapshot):
                self.carry_out(action)
        return any(isinstance(action, Snapshot) for action in decided)

    def _save(self, file: Path | None) -> None:
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            self.write(stream, self._standing())

    def _save_if_possible(self, file: Path | None, observer: Observer) -> None:
        """Save the state; where that cannot be, the one that was saved last stays, and the training goes on.

        Nor is it saved while rows wait to be written: whoever goes on from a state has the rows up to it, or measures
        them again.
        """
        (is_behind,) = self.agreed([hasattr(observer, "is_behind") and observer.is_behind()])
        if is_behind:
            return
        try:
            self._save(file)
        except OSError as error:
            if file is not None and hasattr(observer, "could_not_write"):
                observer.could_not_write(file, error)

    def _standing(self) -> dict[str, Any]:
        """Where the training stands; of one without policies nothing more than it ever was."""
        standing: dict[str, Any] = {"iteration": self.iteration, "seconds": self.seconds}
        if self._observer is not None:
            moved_at = None if self.resampler is None else self.resampler.moved_at
            acted = {"stopped": self.stopped, "evaluations": self.evaluations, "moved_at": moved_at}
            standing["policies"] = json.dumps({**acted, "state": self._observer.policy_state()})
        return standing

    def load(self, file: Path | None) -> None:
        """Go on from a saved state.

        Raises:
            InputError: if there is none, or one of another training.
        """
        if file is None or not file.exists():
            raise InputError("resuming", received=f"no state at {file}", fix="Start anew in another output folder.")
        try:
            standing = self.read(file)
            self.iteration, self.seconds = int(standing["iteration"]), float(standing["seconds"])
            if self.iteration < 0 or not math.isfinite(self.seconds):
                raise ValueError(f"iteration {self.iteration} after {self.seconds} s")
            if self.resampler is not None:
                self.resampler.go_on(self.iteration)
            if self.training.policies and "policies" in standing:
                acted = parsed(standing["policies"])
                self.stopped, self.evaluations, self._policies = acted["stopped"], acted["evaluations"], acted["state"]
                if self.resampler is not None and acted.get("moved_at") == self.iteration:
                    # a policy moved the points after this iteration
                    self.resampler.moved_at = self.iteration
            self.loaded = True
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"resuming from {file}", received=f"{type(error).__name__}: {error}", expected=EXPECTED
            ) from error


def resampler_of(training: Training) -> Resampler | None:
    """Return what moves the points of a training, None where they stay.

    Where the sampling moves none and a policy may ask for it, all are drawn anew, as the first ones were.
    """
    sampling, seed = training.sampling, training.settings.seed
    if sampling.move is None:
        if not may_resample(training.policies):
            return None
        sampling = sampling._replace(move=uniform().move, every=sys.maxsize)
    return Resampler(sampling, training.problem, seed=seed, name=training.sampling_name)
