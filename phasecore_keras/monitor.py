"""The phase monitor: one callback in a `fit` call of your own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import keras

from phasecore import losses, registry
from phasecore.errors import InputError
from phasecore.monitoring.monitor import Monitor
from phasecore.policies import Action, ChangeWeighting, Resample, SwitchOptimizer
from phasecore.policies.actions import RATES, make_action
from phasecore.probes import Probe
from phasecore.recording.acting import may_resample, required_by, standing_of
from phasecore.recording.recorder import Loggers
from phasecore_keras.acting import (
    OF_THE_STATE,
    carried_out,
    carry_out,
    hindrances,
    optimizer_name,
    put_in_charge,
    rate_of,
    slowed_down,
)
from phasecore_keras.callbacks import forget_captured, joined, logged, note_captured
from phasecore_keras.capture import Capture, Probes
from phasecore_keras.model import PINN
from phasecore_keras.optimizers import learning_rates
from phasecore_keras.points import Batches
from phasecore_keras.record import Snapshots, monitored, versions
from phasecore_keras.resampling import Resampling
from phasecore_keras.second_order import without_adam
from phasecore_keras.sources import BatchLoss
from phasecore_keras.steps import StepCounter, steps_before
from phasecore_keras.storing import acted_until, note_acted


@final
class PhaseMonitor(Monitor, keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Captures gradient statistics every few iterations and says which phase the training is in.

    Nothing of the training is changed, and nothing is waited for in the epochs in which nothing is captured. An
    iteration is one step of the optimizer, whatever an epoch is; it counts on where a model is compiled anew with
    another. The first capture is at iteration 0.

    The values measured last are written into `logs` at the end of each epoch, under the names of the history and as
    "iteration" that of the last row: put the monitor before the callbacks that are to see them, such as `CSVLogger` and
    `EarlyStopping`. Those of a probe with a schedule of its own may be of an earlier one. Where nothing else was
    captured in the first epoch they are measured at its end, for the logs alone. Later epochs without a capture repeat
    them: wrap what waits for an improvement in `AtCaptures`.

    Args:
        every: iterations between captures, once they are regular: at the start, where phases are short, there are about
            20 per decade, see `phasecore.recording.schedule`.
        loss: for a model whose `train_step` is its own: from a batch of `points` to its mean loss, a scalar tensor;
            what the step differentiates. A batch that is a tuple or list is handed over as arguments, as in
            `loss(inputs, targets)`, anything else as the only one.
        points: for a model that is no `PINN`: what is cut into batches along the first axis in the order given; shuffle
            them first if they are sorted. `(inputs, targets)` or `(inputs, targets, sample_weight)`, or what `loss`
            takes: arrays, tensors, tuples, lists and dictionaries of them, or a finite data set of batches of these
            (`tf.data.Dataset`, `PyDataset`, `DataLoader`), which is read once.
        probes: names, such as "saturation" or "saturation:every=500" for a schedule of its own, or objects; by default
            those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics.
        biases: count biases among the variables of the gradient statistics too.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        run_folder: also write a run folder, as `phasecore run` does: `run.json` with null for what is not known,
            `history.jsonl`, `outcome.json`, and of a PINN snapshots of fields, residuals and weights.
        snapshots: iterations after which snapshots are saved; one more is saved at the end.
        resume: go on with a file and a folder that are there, in a training whose state is restored
            (`BackupAndRestore`). Their rows up to the restored iteration are taken over into `history`; later ones are
            dropped with a warning. What is not there is begun.
        loggers: who else writes the training down, as in `phasecore run`: "name" or "name:key=value", such as "csv" or
            "tensorboard", or objects with run hooks. Installed plugins that listen to trainings hear of this one too.
        on_capture: called with each row.
        policy: what changes the training when a phase begins: "name" or "name:key=value", such as
            "learning_rate_by_phase" or "stop_when_done", or policies, see `phasecore.policies`. `fit` has learning
            rates set, snapshots saved, functions called, and ends; that of a PINN also has weights held, released and
            changed, and goes on with L-BFGS, of which each step is on all points, whatever the batches.
        resampling: by it policies have the points of a PINN moved; in the list of callbacks too, if it is to move them
            every so many iterations besides.

    Attributes:
        history: the rows captured so far: "iteration" (optimizer steps done), "learning_rate", "seconds", and the
            probes' scalars. Another model begins a new one.
        timeline: the phases so far, found without looking ahead.
        actions: what policies had done so far.
        stopped: whether a policy has ended the training.

    Raises:
        InputError: for bad arguments, or a `history_file` or run that exists without `resume`; with it, for rows that a
            training which begins at iteration 0 would lose; when training begins, before the first epoch, also for
            a model, loss or points that cannot be captured (see `Capture`), an action that cannot be carried out, and
            files that hold another model's rows.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer="adam", loss="mse")
        >>> x = np.random.default_rng(0).uniform(size=(200, 1))
        >>> monitor = PhaseMonitor(every=5, points=(x, np.sin(x)))
        >>> history = model.fit(x, np.sin(x), batch_size=50, epochs=3, callbacks=[monitor], verbose=0)
        >>> [row["iteration"] for row in monitor.history][-2:], len(history.history["snr"])
        ([10, 12], 3)
    """

    def __init__(
        self,
        *,
        every: int = 10,
        loss: BatchLoss | None = None,
        points: Any = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
        history_file: str | Path | None = None,
        run_folder: str | Path | None = None,
        snapshots: Sequence[int] = (),
        resume: bool = False,
        loggers: Loggers = (),
        on_capture: Callable[[Mapping[str, float]], None] | None = None,
        policy: registry.Policies | None = None,
        resampling: Resampling | None = None,
    ) -> None:
        super().__init__(
            every=every,
            history_file=history_file,
            run_folder=run_folder,
            snapshots=snapshots,
            resume=resume,
            loggers=loggers,
            on_capture=on_capture,
            policy=policy,
        )
        self.capture: Capture | None = None
        if not isinstance(resampling, Resampling | None):
            raise InputError(
                "argument 'resampling'", received=repr(resampling), expected="a phasecore_keras.Resampling, or None"
            )
        self._resampling = resampling
        self._points = points
        self._options: dict[str, Any] = {"loss": loss, "probes": probes, "batches": batches, "biases": biases}
        self._captured_of: list[Any] = []
        self._anew = False
        self._files = [str(name) for name in (history_file, run_folder) if name is not None]
        self._snapshots: Snapshots | None = None
        self._steps = StepCounter()
        self._before = self._epoch_began_at = 0
        self._latest: dict[str, float] = {}
        self._of_epoch: list[dict[str, float]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Set up the capture of the model as it is compiled now, and check everything."""
        self._anew = not _same(self._captured_of, self._described())
        if self._anew:
            if self._captured_of and self._captured_of[0] is not self.model:
                self._begin_another()
            self.capture = Capture(self.model, points=self._read_points(), **self._options)
            self._measures(self.capture.probes)
            records = self._log.folder is not None and isinstance(self.model, PINN)
            self._snapshots = Snapshots(self.model) if records else None
            self._take_up_policies()
        forget_captured(self.model)
        self._clock.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where the epoch starts; what restores a state, wherever in the list, has done so by now."""
        self._take_up()

    def _take_up(self) -> None:
        """Begin, or go on from a state that was restored."""
        steps = self._epoch_began_at = self._steps.start(self.model)
        if self._anew and self._captured_of and self._captured_of[1] is not self.model.optimizer:
            self._before = self.iteration - steps
        self.iteration = self._before + steps
        self._begin_log()
        self._drop_later_rows()
        self._put_in_charge()
        if self._anew:
            resumed = bool(self.history) and not self._captured_of
            self._captured_of, self._anew = self._described(), False
            self._latest = joined(self.history) if resumed and self.history[-1]["iteration"] else {}
            if not (resumed or self.iteration or self.history):
                self._take_row()
                self._act()
            elif resumed:
                self._catch_up()

    def _catch_up(self) -> None:
        """Capture what was due of the restored iteration, where the state was saved and no more."""
        if self._is_wanted(self.iteration - 1) and not self._log.has_snapshot(self.iteration):
            self._save_snapshot()
        due = self._due()
        if due is not None:
            self._note(self._take_row(due))
            self._act()

    def _note(self, row: Mapping[str, float]) -> None:
        """Keep what was measured for the logs."""
        if row:
            self._latest = {**self._latest, **row}
            self._of_epoch.append(logged(row))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Capture if the steps before this one have reached an iteration that is due.

        Keras makes the training wait for each batch where a callback listens to the end of one; not so here.
        """
        self._passed(self._before + self._steps.after(batch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Capture if due, and write the values measured last into the logs."""
        steps = self._steps.now(self.model)
        self._passed(self._before + steps)
        if steps == self._epoch_began_at and self._options["loss"] is not None:
            warnings.warn(
                "PhaseMonitor: the optimizer that the model was compiled with made no step in this epoch, so no "
                "iteration was counted. Compile the model with the optimizer that its train_step uses.",
                stacklevel=2,
            )
        if not self._latest and self.capture is not None:
            self._note({"iteration": self.iteration, **self._measure(self.capture.probes)})
        note_captured(self.model, self, self._of_epoch, list(self._latest))
        self._of_epoch = []
        if logs is not None:
            logs.update(logged(self._latest))

    def on_train_end(self, logs: Any = None) -> None:
        """Stop the clock, finish the run folder if there is one, and tell loggers and plugins; a later fit goes on."""
        if self._anew and self._files and self._steps.start(self.model):
            # it was done when its state was saved, and not when it was recorded
            self._take_up()
        self._clock.stop()
        forget_captured(self.model)
        if isinstance(self.model, PINN):
            self.model.quasi_newton.give_back()
        self._finish()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the history, the time, and the steps of earlier optimizers."""
        return {**super().state_dict(), "iterations_before": self._before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history."""
        super().load_state_dict(state)
        self._before = int(state.get("iterations_before", 0))

    def _described(self) -> list[Any]:
        """What a capture is made for: with any of it another, a new one is."""
        model = self.model
        read = (model.physics.points, model.physics.version) if isinstance(model, PINN) else (self._points, None)
        return [model, model.optimizer, getattr(model, "train_function", None), *read, *model.trainable_variables]

    def _read_points(self) -> Any:
        if not isinstance(self.model, PINN) and self._points is not None and not isinstance(self._points, Batches):
            self._points = Batches(self._points, self._options["batches"])
        return self._points

    def _begin_another(self) -> None:
        if self._files:
            raise InputError(
                "monitoring another model",
                received=f"a monitor that has written rows of the first to {' and '.join(self._files)}",
                expected="a monitor of its own for each model",
            )
        self._log.forget()
        self._latest = {}
        self._captured_of, self.iteration, self._before = [], 0, 0
        self._clock.set(0.0)

    def _begin_log(self) -> None:
        if self.capture is not None:
            parts = self.capture, self.every, self._options["batches"], self._wanted, self._log.folder
            self._begin(monitored(self.model, *parts), versions())

    def _drop_later_rows(self) -> None:
        """Forget the rows after the iteration at which an earlier state was restored."""
        late = [row for row in self.history if row["iteration"] > self.iteration]
        if not late:
            return
        if self._files:
            raise InputError(
                "monitoring a training that went back",
                received=f"iteration {self.iteration}, and rows to iteration {late[-1]['iteration']} in {self._files}",
                expected="a monitor of its own",
                fix="Make a new one with resume=True.",
            )
        warnings.warn(
            f"PhaseMonitor: rows after iteration {self.iteration} dropped ({len(late)}): the training goes on there",
            stacklevel=2,
        )
        done = [acted for acted in self._log.actions if acted.iteration <= self.iteration]
        self._log.replay(self.history[: -len(late)], done, iteration=self.iteration)
        self._latest = {}

    def _passed(self, iteration: int) -> None:
        """Hear how many steps are done: with `steps_per_execution`, several at once."""
        before, self.iteration = self.iteration, iteration
        if self._due(before) is None and not self._is_wanted(before):
            return
        self.iteration = self._before + self._steps.now(self.model)
        due = self._due(before)
        if self._is_wanted(before):
            self._save_snapshot()
        if due is not None:
            is_whole = self.capture is not None and len(due) == len(self.capture.probes)
            row = self._take_row(due)
            if row and is_whole:
                self._latest = {}
            self._note(row)
            self._act()

    def _take_row(self, due: Sequence[Probe] | None = None) -> dict[str, float]:
        """Capture, unless nothing can be measured yet."""
        measured = self._measure(due)
        quasi_newton = self.model.quasi_newton if isinstance(self.model, PINN) else None
        is_newton = quasi_newton is not None and quasi_newton.in_charge
        further: dict[str, float] = {} if is_newton else learning_rates(self.model.optimizer)
        if quasi_newton is not None and quasi_newton.evaluations is not None:
            further["evaluations"] = self.iteration - quasi_newton.steps + quasi_newton.evaluations
        return self._record(measured, further) if measured else {}

    def _measure(self, due: Sequence[Probe] | None) -> dict[str, float]:
        """Measure, but for Adam's statistics where it did not make the last step."""
        assert self.capture is not None
        if isinstance(self.model, PINN) and self.model.quasi_newton.in_charge:
            due = without_adam(self.capture.probes if due is None else due)
        return self.capture.measure(self.iteration, due)

    def _take_up_policies(self) -> None:
        """Check what policies require."""
        if not self._policies:
            return
        declared = carried_out(self.model)
        if self._resampling is not None and isinstance(self.model, PINN):
            declared |= {Resample.name}
            self._resampling.set_model(self.model)
            self._resampling.prepare()
        fix = "Use another policy."
        if any(item.startswith(SwitchOptimizer.name) for item in required_by(self._policies)):
            fix += " Optimizers are switched in the fit of a PINN, not with "
            fix += f"{' or '.join(hindrances(self.model)) or 'others'}; 'phasecore run' switches them too."
        if declared.isdisjoint(RATES):
            fix += " Give the optimizer a learning rate that is a number, for policies that change it."
        if self._resampling is None and may_resample(self._policies):
            fix += " For points that move: resampling=phasecore_keras.Resampling('uniform'), or another sampling."
        saves, loss = self._snapshots is not None, getattr(self.model, "physics", None)
        self._check_policies("keras", declared, losses.SUPPLIES, saves=saves, fix=fix, loss=loss)

    def _put_in_charge(self) -> None:
        """Go on with the optimizer that was in charge last, and with what was done since the state was saved.

        A backup between two steps is written before the monitor acts on the row of that iteration.
        """
        if not isinstance(self.model, PINN):
            return
        optimizer = standing_of(self._log.actions).optimizer
        if optimizer is not None:
            put_in_charge(self.model, optimizer, self._failed)
        until = acted_until(self.model)
        if self._anew and until is not None:
            for acted in self._log.actions:
                if acted.iteration > self._before + until and acted.action in OF_THE_STATE:
                    self._carry_out(make_action(acted.action, acted.to, policy=acted.policy))

    def _failed(self, iteration: int, reason: str) -> None:
        with self._rates_kept.watched(lambda: rate_of(self.model), iteration):
            told = slowed_down(self.model, reason)
        self._log.went_back(iteration, optimizer_name(self.model), told)

    def _act(self) -> None:
        super()._act()
        if isinstance(self.model, PINN):
            note_acted(self.model, self.iteration - self._before)
        if self.stopped:
            self.model.stop_training = True

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Resample):
            assert self._resampling is not None
            self._resampling.move(steps_before(self.model) + self.iteration - self._before)
        else:
            with self._rates_kept.watched(lambda: rate_of(self.model), self.iteration):
                carry_out(self.model, action, self._failed)
            if isinstance(action, ChangeWeighting):
                probes = self.capture.probes if self.capture is not None else None
                self.capture = Capture(self.model, **{**self._options, "probes": probes})
                self.model.renew()

    def _arrays(self) -> dict[str, Any] | None:
        return None if self._snapshots is None else self._snapshots.arrays()


def _same(earlier: Sequence[Any], now: Sequence[Any]) -> bool:
    return len(earlier) == len(now) and all(one is other for one, other in zip(earlier, now, strict=True))
