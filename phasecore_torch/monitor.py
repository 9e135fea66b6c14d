"""The phase monitor: three lines in a torch loop of your own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from phasecore.monitoring.monitor import Monitor, check_every, checked_snapshots
from phasecore.recording.recorder import Loggers, Recorder
from phasecore_torch.capture import Capture, Probes
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.points import Points
from phasecore_torch.record import Snapshots, monitored, versions
from phasecore_torch.sources import BatchLoss


@final
class PhaseMonitor(Monitor):
    """Captures gradient statistics every few iterations and says which phase the training is in.

    Call `step()` after each `optimizer.step()`. Nothing of the training is changed: gradients, weights, buffers and
    random states stay as they are, of the model and of whatever the loss holds or reads.

    Args:
        loss: a `PhysicsLoss`, or your own callable from a batch of points to its mean loss, a scalar tensor (then give
            `points`).
        optimizer: any torch optimizer. Where you go on with another one later, Adam's statistics are those of the one
            that stepped last, and absent if that is not Adam.
        every: iterations between captures.
        points: for your own callable: a tensor or numpy array; a tuple or list of such that belong together (inputs and
            targets), which are handed over as several arguments; a dictionary, which is handed over as one; or a data
            set or `DataLoader`, which is read once. They are cut into batches along the first axis in the order given;
            shuffle them first if they are sorted.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics.
        biases: count biases among the parameters of the gradient statistics too.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        run_folder: also write a run folder, as `phasecore run` does: `run.json` with null for what is not known,
            `history.jsonl`, and of a `PhysicsLoss` snapshots of fields, residuals and weights; `finish()` completes it.
        snapshots: iterations after which snapshots are saved.
        resume: go on with a file and a folder that are there, after `load_state_dict`. Their rows up to the restored
            iteration are taken over; later ones are dropped with a warning. What is not there is begun.
        loggers: who else writes the training down, as in `phasecore run`: "name" or "name:key=value", such as "csv" or
            "tensorboard", or objects with run hooks. Installed plugins that listen to trainings hear of this one too.
        on_capture: called with each row.

    Attributes:
        history: the rows captured so far: "iteration" (optimizer steps done), "seconds", and the probes' scalars.
        timeline: the phases so far, found without looking ahead.

    Raises:
        InputError: for bad arguments (see also `Capture`), or a `history_file` or run that exists without `resume`; at
            the first step, with it, for rows that a training which begins at iteration 0 would lose.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> x = torch.rand(200, 1)
        >>> y = x.sin()
        >>> def batch_loss(x, y):
        ...     return (model(x) - y).square().mean()
        >>> monitor = PhaseMonitor(batch_loss, optimizer, every=5, points=(x, y))
        >>> for _ in range(10):
        ...     optimizer.zero_grad()
        ...     batch_loss(x, y).backward()
        ...     optimizer.step()
        ...     row = monitor.step()
        >>> len(monitor.history), "snr" in row
        (2, True)
    """

    def __init__(
        self,
        loss: PhysicsLoss | BatchLoss,
        optimizer: torch.optim.Optimizer,
        *,
        every: int = 10,
        points: Points | None = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
        history_file: str | Path | None = None,
        run_folder: str | Path | None = None,
        snapshots: Sequence[int] = (),
        resume: bool = False,
        loggers: Loggers = (),
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self.capture = Capture(loss, optimizer, points=points, probes=probes, batches=batches, biases=biases)
        self.every = check_every(every)
        self.iteration = 0
        self._takes_backward = False
        self._is_left = False
        self._log = Recorder(
            run_folder, history_file=history_file, resume=resume, loggers=loggers, on_capture=on_capture
        )
        self._wanted = checked_snapshots(snapshots, run_folder)
        self._snapshots = Snapshots(loss) if run_folder is not None and isinstance(loss, PhysicsLoss) else None
        self._training = monitored(loss, self.capture, every, batches, self._wanted, self._log.folder)
        self._device = str(next(p for group in optimizer.param_groups for p in group["params"]).device)
        self._start = time.perf_counter()

    @property
    def _recorder(self) -> Recorder:
        return self._log

    def step(self) -> dict[str, float] | None:
        """Count one iteration; return the captured row if one was due, else None."""
        self._begin()
        # a capture was left to the way back, but another way was taken
        self._takes_backward = self._takes_backward and not self._is_left
        due = self._is_left
        self.iteration += 1
        due = due or self._is_due()
        if self.iteration in self._wanted and self._snapshots is not None:
            self._log.snapshot(self.iteration, self._snapshots.arrays())
        self._leave(due and self._takes_backward)
        return self._row(self.capture.measure(self.iteration)) if due and not self._takes_backward else None

    def backward(self, loss: Tensor) -> dict[str, float] | None:
        """Do `loss.backward()`; return the captured row if one was due, else None.

        With a `PhysicsLoss` at all of its points the gradients of the batches are those that the training's own
        consists of, so that a capture costs little more than the iteration. The row is that of the steps done before
        this one; `step()` then counts, and captures nothing. Where you go back by `loss.backward()` after all, `step()`
        captures what is due, an iteration late the first time.

        A factor of the loss, such as that of a `GradScaler`, is no part of the statistics. Called several times between
        two steps, as in the closure of L-BFGS, it captures at the first call.

        Args:
            loss: what the loss returned in this iteration, a scalar.
        """
        self._begin()
        self._takes_backward = True
        if not self._is_due():
            torch.autograd.backward(loss)
            return None
        row = self._row(self.capture.backward(loss, self.iteration))
        self._leave(False)
        return row

    def finish(self) -> None:
        """Say that the training is over, to whoever listens; it may go on later.

        A run folder gets its last snapshot and `outcome.json`.
        """
        self._begin()
        if self._is_left:
            self._leave(False)
            self._row(self.capture.measure(self.iteration))
        if self._snapshots is not None and not self._log.has_snapshot(self.iteration):
            self._log.snapshot(self.iteration, self._snapshots.arrays())
        self._log.finish(self.iteration, time.perf_counter() - self._start)

    def _begin(self) -> None:
        if not self._log.begun:
            restored = bool(self.history)
            self._log.begin(self._training, {**versions(), "device": self._device}, iteration=self.iteration)
            if self.history and not restored:
                self._start = time.perf_counter() - float(self.history[-1].get("seconds", 0.0))

    def _is_due(self) -> bool:
        """Whether this iteration is to be captured, and was not yet."""
        captured = self.history[-1]["iteration"] if self.history else 0
        return self.iteration > captured and self.iteration % self.every == 0

    def _leave(self, measure: bool) -> None:
        """Leave a capture to the next way back, or none."""
        if measure or self._is_left:
            self.capture.prepare_backward(measure=measure)
        self._is_left = measure

    def _row(self, measured: Mapping[str, float]) -> dict[str, float]:
        row = {"iteration": self.iteration, "seconds": time.perf_counter() - self._start, **measured}
        self._log.captured(row)
        self._log.close()
        return row

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the iteration, the history and the time so far."""
        return {
            "iteration": self.iteration,
            "seconds": time.perf_counter() - self._start,
            "history": [dict(row) for row in self.history],
            "takes_backward": self._takes_backward,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history."""
        self.iteration = int(state["iteration"])
        self._start = time.perf_counter() - float(state["seconds"])
        self._log.replay(state["history"])
        self._takes_backward = bool(state.get("takes_backward", False))
        self._leave(self._takes_backward and self._is_due())
