"""Lightning: a callback that follows a training and says which phase it is in."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch

from phasecore import losses, registry
from phasecore.errors import InputError, MissingDependencyError
from phasecore.loggers.content import sentence_of
from phasecore.monitoring.monitor import Monitor
from phasecore.policies import Action
from phasecore.recording.history import numbers_of
from phasecore.recording.recorder import Loggers
from phasecore_torch.acting import fix_of
from phasecore_torch.capture import Capture, Probes
from phasecore_torch.exchange import Exchange, hindrances, restored_in_time
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.points import Points
from phasecore_torch.processes import check_policy, refuse
from phasecore_torch.record import Snapshots, monitored, versions
from phasecore_torch.resampling import Resampling
from phasecore_torch.sources import BatchLoss
from phasecore_torch.undisturbed import undisturbed

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy
    from lightning.pytorch.utilities.rank_zero import rank_zero_info
except ModuleNotFoundError:
    try:
        from pytorch_lightning import Callback, LightningModule, Trainer
        from pytorch_lightning.strategies import DDPStrategy
        from pytorch_lightning.utilities.rank_zero import rank_zero_info
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "phasecore_torch.lightning needs the package 'lightning' or 'pytorch_lightning'",
            received=str(error),
            fix="Install with: pip install lightning",
        ) from error


class LossFinder(ABC):
    """Finds, when training starts, the loss whose batch gradients are measured; for libraries built on Lightning."""

    @abstractmethod
    def find(self, trainer: Trainer, module: LightningModule) -> tuple[PhysicsLoss | BatchLoss, Points | None]:
        """Return the loss and its points, as `phasecore_torch.PhaseMonitor` takes them.

        Raises:
            InputError: if there is none.
        """


@final
class PhaseCallback(Monitor, Callback):  # type: ignore[misc, unused-ignore]
    """Captures gradient statistics every few iterations and says which phase the training is in.

    An iteration is one step of the optimizer: with gradient accumulation several batches, with manual optimization as
    many as `training_step` makes. Each capture goes to all loggers of the Trainer, whatever its `log_every_n_steps`,
    with the iteration as the step, and into `trainer.callback_metrics`, where `ModelCheckpoint(monitor="snr")` finds
    it. Lightning's checkpoints carry the history. Nothing of the training is changed: gradients, weights and random
    state stay as they are.

    Args:
        loss: a `PhysicsLoss`; by default the one that is an attribute of the LightningModule, or of its parts. Or your
            own callable from a batch of points to its mean loss (then give `points`), or a `LossFinder`.
        points: for your own callable: what is cut into batches along the first axis, see `PhaseMonitor`.
        every: iterations between captures, once they are regular: at the start, where phases are short, there are about
            20 per decade, see `phasecore.recording.schedule`.
        probes: names, such as "saturation" or "saturation:every=500" for a schedule of its own, or objects; by default
            those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics.
        biases: count biases among the parameters of the gradient statistics too.
        history_file: also append each row to this file, as `phasecore detect` reads it.
        run_folder: also write a run folder, as `phasecore run` does: `run.json` with null for what is not known,
            `history.jsonl`, `outcome.json`, and of a `PhysicsLoss` snapshots of fields, residuals and weights.
        snapshots: iterations after which snapshots are saved; one more is saved at the end.
        resume: go on with a file and a folder that are there, in a training that goes on from a checkpoint.
        loggers: phasecore's, beside those of the Trainer: "name" or "name:key=value", such as "csv", or objects with
            run hooks. Installed plugins that listen to trainings hear of this one too.
        on_capture: called with each row.
        policy: what changes the training when a phase begins: "name" or "name:key=value", such as "quasi_newton" or
            "stop_when_done", or policies, see `phasecore.policies`. Actions are carried out at the end of a batch.
        optimizers: further ones by name, for policies to switch to. "lbfgs" is made by itself; a step of it is on the
            batch that it is given.
        resampling: of the `PhysicsLoss`; by it policies have the points moved.

    Attributes:
        iteration: optimizer steps done.
        history: the rows captured so far: "iteration" (optimizer steps done), "seconds", and the probes' scalars.
        timeline: the phases so far, found without looking ahead.
        actions: what policies had done so far.
        stopped: whether a policy has ended the training.

    Raises:
        InputError: for bad arguments, or a `history_file` or run that exists without `resume`; when training starts,
            also for an action that cannot be carried out, several optimizers, several devices by another strategy
            than 'ddp' or with a policy, no loss or several to
            choose from, a callback that has followed another training already, and what cannot be captured (see
            `Capture`).

    Example:
        >>> import warnings, lightning, torch
        >>> class Fit(lightning.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.network = torch.nn.Linear(1, 1)
        ...     def loss(self, x):
        ...         return (self.network(x) - x.sin()).square().mean()
        ...     def training_step(self, batch, batch_idx):
        ...         return self.loss(batch)
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())
        >>> module, x = Fit(), torch.rand(200, 1)
        >>> phases = PhaseCallback(module.loss, points=x, every=5)
        >>> names = ["logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"]
        >>> options = dict.fromkeys(names, False)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     trainer = lightning.Trainer(max_steps=10, accelerator="cpu", callbacks=[phases], **options)
        ...     trainer.fit(module, torch.utils.data.DataLoader(x, batch_size=20))
        >>> [row["iteration"] for row in phases.history][-2:], "snr" in phases.history[0]
        ([9, 10], True)
    """

    def __init__(
        self,
        loss: PhysicsLoss | BatchLoss | LossFinder | None = None,
        *,
        points: Points | None = None,
        every: int = 10,
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
        optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
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
        self._loss = loss
        self._points = points
        self._options: dict[str, Any] = {"probes": probes, "batches": batches, "biases": biases}
        self._records = run_folder is not None
        self._snapshots: Snapshots | None = None
        self._capture: Capture | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._release: Callable[[], None] = lambda: None
        self._fresh: dict[str, float] = {}
        self._module: LightningModule | None = None
        self._followed: PhysicsLoss | BatchLoss | None = None
        self._others = dict(optimizers or {})
        self._resampling = resampling
        self._exchange: Exchange | None = None
        self._acted: Mapping[str, Any] | None = None
        self._restored: Callable[[], None] = lambda: None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the loss of a checkpoint weighted as policies had left it before its state is restored."""
        loss = self._loss if isinstance(self._loss, PhysicsLoss) else _physics_of(pl_module)
        if self._policies and loss is not None and self._loss in (loss, None):
            self._restored = restored_in_time(pl_module, loss, self._resampling, self.state_key)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set up the capture, and check everything; the state of a checkpoint is restored by now."""
        if trainer.world_size > 1:
            self._check_strategy(trainer)
            self._saves_together = True
            self._log = self._log if trainer.is_global_zero else self._log.unheard()
        if self.iteration > trainer.global_step == 0:
            raise InputError(
                "PhaseCallback",
                received=f"a training that begins at iteration 0, after one of {self.iteration} iterations",
                expected="one training",
                fix="Make a new PhaseCallback for each, or go on from a checkpoint.",
            )
        self.iteration = self.iteration or trainer.global_step
        self._restored()
        self._follow(trainer, pl_module)
        assert self._capture is not None
        parts = self._capture, self.every, self._options["batches"], self._wanted, self._log.folder
        device = {"device": str(pl_module.device)}
        self._begin(monitored(self._followed, *parts), {**versions(), **device})
        if self.stopped:
            trainer.should_stop = True
        self._clock.start()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Follow the optimizer that another callback may have put in the place of the first one."""
        if trainer.optimizers != [self._optimizer]:
            self._follow(trainer, pl_module)
        if self._exchange is not None:
            self._exchange.in_charge.before_iteration()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Carry out what policies decided, and make what was captured in this batch known to other callbacks."""
        if self._exchange is not None:
            self._act()
            self._give(trainer, pl_module)
            if self.stopped:
                trainer.should_stop = True
        if self._fresh:
            pl_module.log_dict(self._fresh, logger=False, on_step=True, on_epoch=False)
            self._fresh = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of the optimizer, stop the clock and finish the record; a later `fit` of the same Trainer goes on."""
        self._let_go()
        self._finish()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the record of a training that was done when its checkpoint was saved, and not when it was recorded."""
        if self.iteration and not self._log.begun:
            self.on_train_start(trainer, pl_module)
            self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Have a checkpoint carry the optimizer that the module is configured with, whichever is in charge."""
        if self._exchange is not None:
            self._exchange.write(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the history, and of policies what they had done and their optimizers."""
        return {**super().state_dict(), **({} if self._exchange is None else {"acted": self._exchange.state_dict()})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history."""
        super().load_state_dict(state)
        self._acted = state.get("acted")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go where training ends early, and say so to whoever listens."""
        self._let_go()
        if self._log.begun:
            self._log.stopped(exception)

    def _check_strategy(self, trainer: Trainer) -> None:
        """Refuse to follow a training on several devices that is not made in processes with the whole model each."""
        check_policy(self._policies or None)
        if not isinstance(trainer.strategy, DDPStrategy):
            refuse(
                "PhaseCallback",
                received=f"a training on {trainer.world_size} devices by {type(trainer.strategy).__name__}",
                expected="one device, or the strategy 'ddp', in which each has the whole model",
                fix="Train with strategy='ddp', or with devices=1.",
            )

    def _follow(self, trainer: Trainer, module: LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise InputError(
                "PhaseCallback",
                received=f"{len(trainer.optimizers)} optimizers",
                expected="one, whose steps are the iterations",
                fix="Train all parameters with one optimizer; its parameter groups may have options of their own.",
            )
        self._release()
        (self._optimizer,) = trainer.optimizers
        loss, points = self._find(trainer, module)
        with undisturbed(module):
            self._capture = Capture(loss, self._optimizer, points=points, **self._options)
        self._measures(self._capture.probes)
        self._followed, self._module = loss, module
        self._snapshots = None
        if self._records and isinstance(loss, PhysicsLoss):
            self._snapshots = Snapshots(loss)
        self._listen(trainer, module, self._optimizer)
        if self._policies:
            self._take_up_policies(trainer, module, self._optimizer)

    def _listen(self, trainer: Trainer, module: LightningModule, optimizer: torch.optim.Optimizer) -> None:
        """Hear of each step of an optimizer, and of no other's."""
        self._release()
        self._optimizer = optimizer
        hook = functools.partial(self._stepped, trainer, module)
        self._release = optimizer.register_step_post_hook(hook).remove

    def _take_up_policies(self, trainer: Trainer, module: LightningModule, first: torch.optim.Optimizer) -> None:
        """Check what policies require, and go on with the optimizer that was in charge last."""
        acted = self._acted if self._exchange is None else self._exchange.state_dict()
        self._exchange = Exchange(self._followed, first, self._others, self._resampling, acted)
        hindered = hindrances(trainer, module)
        fix = fix_of(self._policies, self._resampling)
        if hindered:
            fix += f" Optimizers are not switched with {' or '.join(hindered)}."
        saves = self._snapshots is not None
        declared = self._exchange.declared(bool(hindered))
        self._check_policies("lightning", declared, losses.SUPPLIES, saves=saves, fix=fix, loss=self._followed)
        if acted is not None and self._capture is not None:
            self._capture.moved_by(self._exchange.in_charge.last)
        self._give(trainer, module)

    def _give(self, trainer: Trainer, module: LightningModule) -> None:
        """Give the Trainer the optimizer in charge."""
        assert self._exchange is not None
        optimizer = self._exchange.in_charge.optimizer
        if optimizer is not self._optimizer:
            trainer.strategy.optimizers = [optimizer]
            self._listen(trainer, module, optimizer)

    def _carry_out(self, action: Action) -> None:
        assert self._exchange is not None
        self._exchange.in_charge.carry_out(action, self.iteration)

    def _find(self, trainer: Trainer, module: LightningModule) -> tuple[PhysicsLoss | BatchLoss, Points | None]:
        if isinstance(self._loss, LossFinder):
            return self._loss.find(trainer, module)
        if self._loss is not None:
            return self._loss, self._points
        loss = _physics_of(module)
        if loss is None:
            found = {name: part for name, part in module.named_modules() if isinstance(part, PhysicsLoss)}
            raise InputError(
                "PhaseCallback without a loss",
                received=f"a LightningModule with {len(found)} of them {list(found) or ''}".rstrip(),
                expected="one PhysicsLoss among its attributes",
                fix="Pass a PhysicsLoss, or a callable from a batch to its mean loss, and points=.",
            )
        return loss, self._points

    def _stepped(self, trainer: Trainer, module: LightningModule, *unused: Any) -> None:
        """Count a step of the optimizer, which has just been made, and capture if it is due."""
        self.iteration += 1
        if self._is_wanted(self.iteration - 1):
            self._save_snapshot()
        in_charge = None if self._exchange is None else self._exchange.in_charge
        failure = None if in_charge is None else in_charge.after_iteration(self.iteration)
        if in_charge is not None and failure is not None:
            self._log.went_back(self.iteration, in_charge.name, failure)
        due = self._due()
        if due is None or self._capture is None:
            return
        with undisturbed(module):
            measured = self._capture.measure(self.iteration, due)
        told, done = self._log.declared, len(self._log.actions)
        evaluations = None if in_charge is None else in_charge.evaluations
        further = {} if evaluations is None else {"evaluations": evaluations}
        self._record(measured, further)
        self._fresh = numbers_of({**further, **measured})
        for logger in trainer.loggers:
            logger.log_metrics(self._fresh, step=self.iteration)
        for transition in self.timeline.transitions:
            if transition.phase not in told:
                rank_zero_info(f"iteration {self.iteration}: {sentence_of(transition)}")
        for acted in self._log.actions[done:]:
            rank_zero_info(f"iteration {acted.iteration}: {acted.words} ({acted.policy}: {acted.reason})")

    def _arrays(self) -> dict[str, Any] | None:
        if self._snapshots is None or self._module is None:
            return None
        with undisturbed(self._module):
            return self._snapshots.arrays()

    def _let_go(self) -> None:
        self._release()
        self._clock.stop()
        self._optimizer = None


def _physics_of(module: LightningModule) -> PhysicsLoss | None:
    """The loss among the parts of a module, if there is one and no other."""
    found = [part for part in module.modules() if isinstance(part, PhysicsLoss)]
    return found[0] if len(found) == 1 else None
