"""The phase monitor: one callback in a `fit` call of your own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import keras

from phasecore.runs.capture_log import CaptureLog
from phasecore.runs.monitored import checked_snapshots
from phasecore.runs.monitoring import Monitor, check_every
from phasecore_keras.capture import Capture, Probes
from phasecore_keras.model import PINN
from phasecore_keras.record import Snapshots, configuration_of, versions
from phasecore_keras.steps import StepCounter


@final
class PhaseMonitor(Monitor, keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Captures gradient statistics every few iterations and says which phase the training is in.

    Nothing of the training is changed, and nothing is waited for in the epochs in which nothing is captured. An
    iteration is one step of the optimizer, whatever an epoch is. The last captured values are written into `logs` at
    the end of each epoch (NaN before the first capture), under the names of the history and as "iteration" that of the
    capture: put the monitor before the callbacks that are to see them, such as `CSVLogger` and `EarlyStopping`.

    Args:
        every: iterations between captures.
        points: for a model that is no `PINN`: `(inputs, targets)` or `(inputs, targets, sample_weight)`, cut into
            batches along the first axis in the order given; shuffle them first if they are sorted.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics.
        biases: count biases among the variables of the statistics too.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        run_folder: also write a run folder, as `phasecore run` does: `run.json` with null for what is not known,
            `history.jsonl`, `outcome.json`, and of a PINN snapshots of fields, residuals and weights.
        snapshots: iterations after which snapshots are saved; one more is saved at the end.
        resume: go on with a file and a folder that are there, in a training whose state is restored
            (`BackupAndRestore`). Their rows up to the restored iteration are taken over into `history`; later ones are
            dropped with a warning. What is not there is begun.
        on_capture: called with each row.

    Attributes:
        history: the rows captured so far: "iteration" (optimizer steps done), "seconds", and the probes' scalars.
        timeline: the phases so far, found without looking ahead.

    Raises:
        InputError: for bad arguments, or a `history_file` or run that exists without `resume`; with it, for rows that a
            training which begins at iteration 0 would lose; when training begins, before the first epoch,
            also for a model that cannot be captured (see `Capture`).

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer="adam", loss="mse")
        >>> x = np.random.default_rng(0).uniform(size=(200, 1))
        >>> monitor = PhaseMonitor(every=5, points=(x, np.sin(x)))
        >>> history = model.fit(x, np.sin(x), batch_size=50, epochs=3, callbacks=[monitor], verbose=0)
        >>> [row["iteration"] for row in monitor.history], len(history.history["snr"])
        ([5, 10], 3)
    """

    def __init__(
        self,
        *,
        every: int = 10,
        points: Any = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
        history_file: str | Path | None = None,
        run_folder: str | Path | None = None,
        snapshots: Sequence[int] = (),
        resume: bool = False,
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        super().__init__()
        self.every = check_every(every)
        self.capture: Capture | None = None
        self.iteration = 0
        self._points = points
        self._options: dict[str, Any] = {"probes": probes, "batches": batches, "biases": biases}
        self._names: list[str] = []
        self._captured_of: tuple[int, ...] = ()
        self._log = CaptureLog(history_file, on_capture, run_folder=run_folder, resume=resume)
        self._wanted = checked_snapshots(snapshots, run_folder)
        self._snapshots: Snapshots | None = None
        self._steps = StepCounter()
        self._seconds = 0.0
        self._start: float | None = None

    @property
    def _captures(self) -> CaptureLog:
        return self._log

    def on_train_begin(self, logs: Any = None) -> None:
        """Set up the capture of the model, and check everything."""
        optimizer = getattr(self.model, "optimizer", None)
        physics = self.model.physics if isinstance(self.model, PINN) else None
        captured_of = (id(self.model), id(optimizer), id(physics.points if physics else self._points))
        if captured_of != self._captured_of:
            self.capture = Capture(self.model, points=self._points, **self._options)
            self._names = self.capture.names()
            self._captured_of = captured_of
            records = self._log.folder is not None and isinstance(self.model, PINN)
            self._snapshots = Snapshots(self.model) if records else None
        self._start = time.perf_counter() - self._seconds

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where the epoch starts; what restores a state, wherever in the list, has done so by now."""
        self.iteration = self._steps.start(self.model)
        if not self._log.begun and self.capture is not None:
            configuration = configuration_of(self.model, self.capture, self.every, self._options["batches"])
            self._log.begin(self.iteration, configuration, versions())
            if self.history and not self._seconds:
                self._seconds = float(self.history[-1].get("seconds", 0.0))
                self._start = time.perf_counter() - self._seconds

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Capture if the steps before this one have reached an iteration that is due.

        Keras makes the training wait for each batch where a callback listens to the end of one; not so here.
        """
        self._passed(self._steps.after(batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Capture if due, and write the last captured values into the logs."""
        self._passed(self._steps.now(self.model))
        if logs is not None:
            row = self.history[-1] if self.history else {}
            logs["iteration"] = row.get("iteration", math.nan)
            logs.update({name: row.get(name, math.nan) for name in self._names})

    def on_train_end(self, logs: Any = None) -> None:
        """Stop the clock, and finish the run folder if there is one; a later fit goes on."""
        if self._start is not None:
            self._seconds = time.perf_counter() - self._start
            self._start = None
        folder = self._log.folder
        if folder is not None and self._log.begun:
            if self._snapshots is not None and not folder.has_snapshot(self.iteration):
                self._log.snapshot(self.iteration, self._snapshots.arrays())
            self._log.finish(self.iteration, self._seconds)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the history and the time so far."""
        return {
            "iteration": self.iteration,
            "seconds": self._elapsed(),
            "history": [dict(row) for row in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history."""
        self.iteration = int(state["iteration"])
        self._seconds = float(state["seconds"])
        self._log.replay(state["history"])

    def _passed(self, iteration: int) -> None:
        """Hear how many steps are done: with `steps_per_execution`, several at once."""
        due = iteration // self.every > self.iteration // self.every
        wanted = any(self.iteration < snapshot <= iteration for snapshot in self._wanted)
        self.iteration = iteration
        if wanted and self._snapshots is not None:
            self._log.snapshot(iteration, self._snapshots.arrays())
        if due and self.capture is not None:
            row = {"iteration": iteration, "seconds": self._elapsed(), **self.capture.measure(iteration)}
            self._log.take(row)
            self._log.close()

    def _elapsed(self) -> float:
        return self._seconds if self._start is None else time.perf_counter() - self._start
