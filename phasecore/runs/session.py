"""The loop of a training that phasecore drives, once for all backends: captures, snapshots, checkpoints, Ctrl-C."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Observer, Training
from phasecore.errors import InputError
from phasecore.files import replacing
from phasecore.probes import Probe
from phasecore.recording.schedule import Schedule
from phasecore.runs.interruption import Interruption, noticed_between_iterations
from phasecore.sampling import Resampler

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
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.iteration = 0
        self.seconds = 0.0
        self.loaded = False
        self.resampler = None if training.sampling.move is None else resampler_of(training)

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
    def learning_rate(self) -> float:
        """Return the learning rate of the next iteration."""

    @abstractmethod
    def measure(self, due: Sequence[Probe]) -> Mapping[str, float]:
        """Return the scalars of those of the training's probes that are due."""

    @abstractmethod
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return fields, residuals and weights by name, for a snapshot."""

    @abstractmethod
    def write(self, stream: BinaryIO, standing: Mapping[str, float]) -> None:
        """Write the state of all parts, and where the training stands."""

    @abstractmethod
    def read(self, file: Path) -> Mapping[str, float]:
        """Restore the state of all parts, and return where the training stood."""

    def run(self, observer: Observer, file: Path | None) -> None:
        """Train to the end, telling the observer and saving checkpoints, the first before the first iteration.

        Ctrl-C waits for the end of the iteration and saves its state; nothing is saved where an exception interrupts
        an iteration: a saved state is always that of a whole iteration.

        Args:
            observer: hears of captures and snapshots, and from which iteration a saved state goes on.
            file: the checkpoint, or None to save nothing.
        """
        with noticed_between_iterations() as interruption:
            self._run(observer, file, interruption)

    def _run(self, observer: Observer, file: Path | None, interruption: Interruption) -> None:
        settings, snapshots = self.training.settings, set(self.training.snapshots)
        schedule = Schedule(settings.every, self.training.probes)
        if self.loaded and hasattr(observer, "resumed"):
            observer.resumed(self.iteration)
        began = time.perf_counter() - self.seconds
        self._save(file)
        saved = time.perf_counter()
        while self.iteration < settings.iterations:
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
                row = {"iteration": self.iteration, "learning_rate": self.learning_rate()}
                if self.resampler is not None:
                    row["points"] = len(self.interior())
                measured = self.measure(due)
                self.seconds = time.perf_counter() - began
                observer.captured({**row, "seconds": self.seconds, **measured})
            if snapshot:
                observer.snapshot(self.iteration, self.arrays())
            if interruption.came or time.perf_counter() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                self.seconds = time.perf_counter() - began
                self._save(file)
                saved = time.perf_counter()
            if interruption.came:
                raise KeyboardInterrupt
        self._save(file)

    def _save(self, file: Path | None) -> None:
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            self.write(stream, {"iteration": self.iteration, "seconds": self.seconds})

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
            self.loaded = True
            if self.resampler is not None:
                self.resampler.go_on(self.iteration)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"resuming from {file}", received=f"{type(error).__name__}: {error}", expected=EXPECTED
            ) from error


def resampler_of(training: Training) -> Resampler:
    """Return what moves the points of a training whose sampling moves them."""
    seed = training.settings.seed
    return Resampler(training.sampling, training.problem, seed=seed, name=training.sampling_name)
