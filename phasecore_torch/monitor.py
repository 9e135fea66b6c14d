"""The phase monitor: three lines in a torch loop of your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from phasecore import losses, registry
from phasecore.backends import Monitored
from phasecore.errors import InputError
from phasecore.monitoring.monitor import Monitor, checked_snapshots
from phasecore.policies import Action
from phasecore.probes import Probe
from phasecore.recording.recorder import Loggers, Recorder
from phasecore_torch.acting import InCharge, fix_of
from phasecore_torch.capture import Capture, Probes
from phasecore_torch.layout import check_standing
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.points import Points
from phasecore_torch.processes import check_policy, is_first, processes
from phasecore_torch.record import Snapshots, monitored, versions
from phasecore_torch.resampling import Resampling
from phasecore_torch.sources import BatchLoss


@final
class PhaseMonitor(Monitor):
    """Captures gradient statistics every few iterations and says which phase the training is in.

    Put each iteration, from `zero_grad()` to `optimizer.step()`, into a `with monitor:` block. With a `PhysicsLoss` at
    all of its points the gradients of the batches are then those that the training's own gradient consists of, so that
    a capture costs little more than the iteration. It is made before the optimizer changes the parameters, with the
    weights that the loss has just used; its row is that of the steps done before. Where the way back tells nothing of
    the batches (a loss of your own, or of some points, the closure of L-BFGS), they are gone through once more.

    Or call `step()` after each `optimizer.step()`: it captures at once, at the new parameters.

    Nothing of the training is changed: gradients, weights, buffers and random states stay as they are, of the model
    and of whatever the loss holds or reads; gradients in which batches were told apart, up to rounding. A factor of the
    loss, such as that of a `GradScaler`, is no part of the statistics.

    Args:
        loss: a `PhysicsLoss`, or your own callable from a batch of points to its mean loss, a scalar tensor (then give
            `points`).
        optimizer: any torch optimizer. Where you go on with another one later, Adam's statistics are those of the one
            that stepped last, and absent if that is not Adam.
        every: iterations between captures, once they are regular: at the start, where phases are short, there are about
            20 per decade, see `phasecore.recording.schedule`.
        points: for your own callable: a tensor or numpy array; a tuple or list of such that belong together (inputs and
            targets), which are handed over as several arguments; a dictionary, which is handed over as one; or a data
            set or `DataLoader`, which is read once. They are cut into batches along the first axis in the order given;
            shuffle them first if they are sorted.
        probes: names, such as "saturation" or "saturation:every=500" for a schedule of its own, or objects; by default
            those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
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
        policy: what changes the training when a phase begins: "name" or "name:key=value", such as
            "at_phase:phase=total_diffusion,do=lbfgs", or policies, see `phasecore.policies`. Make the iterations with
            `optimize`, or take `monitor.optimizer` in the block, and end the loop where `monitor.stopped`.
        optimizers: further ones by name, for policies to switch to. "lbfgs" is made by itself.
        resampling: of this loss; by it policies have the points moved.

    Attributes:
        history: the rows captured so far: "iteration" (optimizer steps done), "seconds", and the probes' scalars.
        timeline: the phases so far, found without looking ahead.
        actions: what policies had done so far.
        stopped: whether a policy asks for the end of the training.

    Raises:
        InputError: for bad arguments (see also `Capture`), an action that cannot be carried out, or a `history_file` or
            run that exists without `resume`; at the first step, with it, for rows that a training which begins at
            iteration 0 would lose.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> x = torch.rand(200, 1)
        >>> y = x.sin()
        >>> def batch_loss(x, y):
        ...     return (model(x) - y).square().mean()
        >>> monitor = PhaseMonitor(batch_loss, optimizer, every=5, points=(x, y))
        >>> for _ in range(60):
        ...     with monitor:
        ...         optimizer.zero_grad()
        ...         batch_loss(x, y).backward()
        ...         optimizer.step()
        >>> [row["iteration"] for row in monitor.history][-3:], "snr" in monitor.history[-1]
        ([50, 55, 60], True)
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
        policy: registry.Policies | None = None,
        optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
        resampling: Resampling | None = None,
    ) -> None:
        check_policy(policy)
        first = is_first()
        super().__init__(
            every=every,
            history_file=history_file if first else None,
            run_folder=run_folder if first else None,
            snapshots=snapshots if first else (),
            resume=resume,
            loggers=loggers if first else (),
            on_capture=on_capture,
            policy=policy,
        )
        if not first:
            self._log = self._log.unheard()
        self.capture = Capture(loss, optimizer, points=points, probes=probes, batches=batches, biases=biases)
        self._measures(self.capture.probes)
        self._loss = loss
        self._in_charge = InCharge(loss, optimizer, optimizers or {}, resampling)
        # all processes make a snapshot together, and the first one saves it
        self._saves_together = processes() > 1
        self._wanted = checked_snapshots(snapshots, run_folder)
        self._snapshots = Snapshots(loss) if run_folder is not None and isinstance(loss, PhysicsLoss) else None
        fix, saves = fix_of(self._policies, resampling), self._snapshots is not None
        self._check_policies("torch", self._in_charge.declared, losses.SUPPLIES, saves=saves, fix=fix, loss=loss)
        self._training = monitored(loss, self.capture, every, batches, self._wanted, self._log.folder)
        device = next(p for group in optimizer.param_groups for p in group["params"]).device
        self._versions = {**versions(), "device": str(device)}
        self._awaited: list[Probe] | None = None
        self._release: Callable[[], None] | None = None
        self._takes_backward = False
        self._agrees = self._is_restored = False
        self._clock.start()

    def __enter__(self) -> Self:
        """Begin an iteration: what is due of the steps before is captured on the training's own way back."""
        if self._release is not None:
            raise InputError("PhaseMonitor", received="'with' inside another 'with'", expected="one for each iteration")
        self._begin(self._training, self._versions)
        self._act()
        self._in_charge.before_iteration()
        self._awaited, self._release = self._due(), lambda: None
        if self._awaited is not None:
            self.capture.prepare_backward(due=self._awaited)
            self._release = register_optimizer_step_pre_hook(self._before_step).remove
        return self

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        """Count the iteration, unless an exception ended it."""
        assert self._release is not None
        self._release()
        self._release = None
        if kind is not None:
            self._awaited = None
            self.capture.prepare_backward(measure=False)
            return
        self._count()
        left, self._awaited = self._awaited, None
        if left is not None:
            # no optimizer made a step: what was heard may be of other parameters than those of now
            self.capture.prepare_backward(measure=False)
            self._row(self.capture.measure(self.iteration, left))
        self._hear_of_failure()
        self._act()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer in charge: the one given, until a policy switches to another."""
        return self._in_charge.optimizer  # type: ignore[no-any-return]

    def optimize(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        """Make one iteration with the optimizer in charge, whichever that is, and return its loss.

        The same as `with monitor: monitor.optimizer.step(closure)`, but that a capture of a step that needs one
        evaluation is made on its way back.

        Args:
            closure: as torch's optimizers take it: clears the gradients, evaluates the loss, goes back through it, and
                returns it. None for a `PhysicsLoss` at all of its points.

        Raises:
            InputError: for no closure with a loss of your own.

        Example:
            >>> x = torch.tensor([3.0], requires_grad=True)
            >>> optimizer = torch.optim.Adam([x])
            >>> monitor = PhaseMonitor(lambda batch: (x * batch).square().mean(), optimizer, points=torch.rand(200, 1),
            ...     biases=True)
            >>> def closure():
            ...     optimizer.zero_grad()
            ...     loss = x.square().sum()
            ...     loss.backward()
            ...     return loss
            >>> monitor.optimize(closure).item()
            9.0
        """
        loss = self._loss
        if closure is None and not isinstance(loss, PhysicsLoss):
            raise InputError("optimize()", received="no closure", expected="one, as the loss is a function of your own")

        def own() -> Tensor:
            self.optimizer.zero_grad()
            value: Tensor = loss()
            torch.autograd.backward(value)
            return value

        self._in_charge.is_fixed = closure is None and self._in_charge.sees_the_same
        try:
            with self:
                return self._in_charge.step(closure or own)
        finally:
            # steps in a block are of whatever closure they are given
            self._in_charge.is_fixed = False

    def step(self) -> dict[str, float] | None:
        """Count one iteration; return the captured row if one was due, else None.

        A capture evaluates the loss once more, batch by batch; `with monitor:` has it on the training's way back.
        """
        self._begin(self._training, self._versions)
        # a capture was left to the way back, but another way was taken
        left, self._awaited = self._awaited, None
        self._takes_backward = self._takes_backward and left is None
        self._count()
        self._hear_of_failure()
        due = self._due() if left is None else left
        if self._takes_backward and due is not None:
            self._awaited = due
            self.capture.prepare_backward(due=due)
            self._act()
            return None
        if left is not None:
            self.capture.prepare_backward(measure=False)
        row = None if due is None else self._row(self.capture.measure(self.iteration, due))
        self._act()
        return row

    def backward(self, loss: Tensor) -> dict[str, float] | None:
        """Do `loss.backward()`; return the captured row if one was due, else None.

        For loops that cannot have the iteration in a `with` block: the row is that of the steps done before this one;
        `step()` then counts, and captures nothing. Where you go back by `loss.backward()` after all, `step()` captures
        what is due, an iteration late the first time. Called several times between two steps, as in the closure of
        L-BFGS, it captures at the first call.

        Args:
            loss: what the loss returned in this iteration, a scalar.
        """
        self._begin(self._training, self._versions)
        self._takes_backward = True
        due, self._awaited = self._awaited or self._due(), None
        if due is None:
            torch.autograd.backward(loss)
            return None
        return self._row(self.capture.backward(loss, self.iteration, due))

    def finish(self) -> None:
        """Say that the training is over, to whoever listens; it may go on later.

        A run folder gets its last snapshot and `outcome.json`.
        """
        self._begin(self._training, self._versions)
        if not self._log.is_looked_at(self.iteration):
            self._awaited = self._due()
            self._settle()
        self._act()
        self._finish()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: the iteration, the history and the time so far."""
        acted = {"acted": self._in_charge.state_dict()} if self._policies else {}
        return {**super().state_dict(), "takes_backward": self._takes_backward, **acted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the phases so far are replayed from the history."""
        super().load_state_dict(state)
        self._agrees, self._is_restored = False, True
        if self._policies and "acted" in state:
            self._in_charge.load_state_dict(state["acted"])
            self.capture.moved_by(self._in_charge.last)
        self._takes_backward = bool(state.get("takes_backward", False))
        self._awaited = self._due() if self._takes_backward else None
        self.capture.prepare_backward(measure=self._awaited is not None, due=self._awaited)

    def _begin(self, training: Monitored, versions: Mapping[str, str]) -> None:
        if not self._agrees:
            # the model's state may be restored after that of the monitor, so not before now
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            check_standing(self.iteration, self._is_restored, parameters)
            self._agrees = True
        super()._begin(training, versions)

    def _arrays(self) -> dict[str, Any] | None:
        return None if self._snapshots is None else self._snapshots.arrays()

    def _count(self) -> None:
        self.iteration += 1
        if self._is_wanted(self.iteration - 1):
            self._save_snapshot()

    def _hear_of_failure(self) -> None:
        """Have the former optimizer in charge again where the one in charge failed in the iteration that is over."""
        failure = self._in_charge.after_iteration(self.iteration)
        if failure is not None:
            self._log.went_back(self.iteration, self._in_charge.name, failure)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Take the row that is awaited before the first optimizer, whichever it is, changes what it is of."""
        if self.capture.is_moved_by(optimizer):
            self._settle()

    def _settle(self) -> None:
        """Take the row that is awaited."""
        due, self._awaited = self._awaited, None
        if due is not None:
            self._row(self.capture.heard(self.iteration, due))

    def _row(self, measured: Mapping[str, float]) -> dict[str, float]:
        evaluations = self._in_charge.evaluations
        return self._record(measured, None if evaluations is None else {"evaluations": evaluations})

    def _carry_out(self, action: Action) -> None:
        self._in_charge.carry_out(action, self.iteration)

    @property
    def _up_to_date(self) -> Recorder:
        """The recorder; between iterations in blocks, what is due is captured first.

        Processes capture together: in several what is due is left to the next block, or to `finish()`, so that one of
        them may look alone.
        """
        if processes() == 1 and self._release is None and self._awaited is None and self._log.begun:
            self._awaited = self._due()
            self._settle()
        return self._log
