"""Carrying out, in a loop of one's own, what policies ask for: the optimizers by name, and which is in charge."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import torch
from torch import Tensor

from phasecore.errors import InputError
from phasecore.monitoring.rates_kept import RatesKept
from phasecore.policies import (
    Action,
    ChangeWeighting,
    Policy,
    Resample,
    ScaleLearningRate,
    SetLearningRate,
    SwitchOptimizer,
)
from phasecore.policies.actions import RATES, WEIGHTS
from phasecore.policies.going_back import gentle, said
from phasecore.recording.acting import may_resample
from phasecore.weighting.changes import change_again, changes_of_older
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.quasi_newton import LBFGS
from phasecore_torch.rates import change_rates
from phasecore_torch.resampling import Resampling


def slow_down(optimizer: torch.optim.Optimizer, failed: object) -> float:
    """Have an optimizer go on no faster than another ended, and return the factor of its learning rates.

    See `phasecore.policies.going_back`.

    Args:
        optimizer: goes on.
        failed: what it goes on after; what that has won is known of our own L-BFGS alone.
    """
    if not isinstance(failed, LBFGS):
        return 1.0
    rate = optimizer.param_groups[0].get("lr")
    factor = gentle(failed.length, rate and float(rate), failed.has_won)
    if factor < 1.0:
        change_rates(optimizer, ScaleLearningRate(factor))
    return factor


@final
class InCharge:
    """The optimizers of a training, by name, of which one is in charge.

    Args:
        loss: the training's.
        first: the optimizer that begins; its name is that of its class, "adam".
        others: further ones, by name. "lbfgs" is made when it is needed, unless it is among them.
        resampling: by which points move, of that loss; None where they cannot be moved.

    Attributes:
        name: of the optimizer in charge.
        declared: the actions that can be carried out.
        is_fixed: whether the loss of the next step is the same function of the parameters as that of the last.

    Raises:
        InputError: for what is no optimizer, or has the name of the first; for the resampling of another loss.

    Example:
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizers = InCharge(None, torch.optim.Adam([weight]), {"sgd": torch.optim.SGD([weight], lr=0.1)})
        >>> optimizers.carry_out(SwitchOptimizer("sgd"))
        >>> type(optimizers.optimizer).__name__, optimizers.name
        ('SGD', 'sgd')
    """

    def __init__(
        self,
        loss: Any,
        first: torch.optim.Optimizer,
        others: Mapping[str, torch.optim.Optimizer],
        resampling: Resampling | None = None,
    ) -> None:
        self.name = self._former = self._last = type(first).__name__.lower()
        self.is_fixed = False
        self._loss = loss
        self._optimizers: dict[str, Any] = {self.name: first}
        for name, optimizer in others.items():
            if not isinstance(optimizer, torch.optim.Optimizer) or name in self._optimizers:
                raise InputError(
                    f"argument 'optimizers', {name!r}",
                    received="the name of the first optimizer" if name in self._optimizers else repr(optimizer),
                    expected="torch optimizers, each under a name of its own",
                )
            self._optimizers[name] = optimizer
        switches = {f"{SwitchOptimizer.name}:{name}" for name in (*self._optimizers, "lbfgs")}
        if resampling is not None and getattr(resampling, "loss", None) is not loss:
            is_other = isinstance(resampling, Resampling)
            raise InputError(
                "argument 'resampling'",
                received="that of another loss" if is_other else repr(resampling),
                expected="a phasecore_torch.Resampling of the loss that is monitored",
            )
        points = set() if resampling is None else {Resample.name}
        self.declared = frozenset(switches | RATES | points | (WEIGHTS if isinstance(loss, PhysicsLoss) else set()))
        self._resampling = resampling
        self._seen: tuple[Any, Any] = (None, None)
        self._seen_points: Tensor | None = None
        self._before: list[Tensor] = []
        for optimizer in self._optimizers.values():
            if isinstance(optimizer, torch.optim.LBFGS) and not isinstance(optimizer, LBFGS):
                optimizer.register_step_pre_hook(_hears(weakref.WeakMethod(self._keep)))
        self._rates_kept = RatesKept()
        self._changed: torch.optim.Optimizer | None = None
        self._steps_of_others = 0
        self._evaluations_of_ours = self._count_of_ours()

    @property
    def optimizer(self) -> Any:
        """The optimizer in charge."""
        return self._optimizers[self.name]

    @property
    def last(self) -> Any:
        """The optimizer that made the last step."""
        return self._optimizers[self._last]

    @property
    def evaluations(self) -> int | None:
        """Evaluations of the loss in the iterations that are over; None as long as each iteration had one."""
        is_there = isinstance(self._optimizers.get("lbfgs"), LBFGS)
        return self._steps_of_others + self._evaluations_of_ours if is_there else None

    @property
    def sees_the_same(self) -> bool:
        """Whether a `PhysicsLoss` has the weights and points with which the last step ended."""
        return self._has_seen_the_same and not self._loss.weighting.moves

    @property
    def _has_seen_the_same(self) -> bool:
        """Whether the last step was made with the points and the schemes of now."""
        points, weighting = getattr(self._loss, "points", None), getattr(self._loss, "weighting", None)
        if points is None or weighting is None or weighting is not self._seen[1]:
            return False
        if self._seen_points is None:
            return points is self._seen[0]
        return torch.equal(points, self._seen_points.to(points))

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Make a step of the optimizer in charge, and return the loss before it.

        Args:
            closure: clears the gradients, evaluates the loss, goes back through it, and returns it.
        """
        loss, optimizer = self._loss, self.optimizer
        self._seen = getattr(loss, "points", None), getattr(loss, "weighting", None)
        self._seen_points = None
        if type(optimizer).__module__.startswith("torch.optim") and not isinstance(optimizer, torch.optim.LBFGS):
            loss = closure()
            optimizer.step()
            return loss
        return optimizer.step(closure)  # type: ignore[no-any-return]

    def carry_out(self, action: Action, iteration: int = 0) -> None:
        """Do what a policy asks for, of what is `declared`.

        Args:
            action: what to do.
            iteration: steps of the optimizers so far.
        """
        if isinstance(action, SwitchOptimizer):
            self._switch_to(action.optimizer)
        elif isinstance(action, SetLearningRate | ScaleLearningRate):
            of_rates = self._former if isinstance(self.optimizer, torch.optim.LBFGS) else self.name
            with self._watched(self._optimizers[of_rates], iteration):
                change_rates(self._optimizers[of_rates], action)
        elif isinstance(action, ChangeWeighting):
            self._loss.change_weighting(action.weighting)
        elif isinstance(action, Resample):
            assert self._resampling is not None
            self._resampling.move(iteration)
        else:
            self._loss.hold_weighting(action)
            self._seen = (None, None)

    def before_iteration(self) -> None:
        """Forget an iteration that was not brought to its end."""
        self._before = []

    @torch.no_grad()
    def after_iteration(self, iteration: int) -> str | None:
        """Return why the optimizer in charge failed, or None; the former one is in charge again then.

        Args:
            iteration: steps of the optimizers so far.
        """
        if self._changed is not None:
            self._rates_kept.look(_rate(self._changed))
        optimizer, self._last = self.optimizer, self.name
        before, self._before = self._before, []
        if not isinstance(optimizer, LBFGS):
            self._steps_of_others += 1
        self._evaluations_of_ours = self._count_of_ours()
        failure = optimizer.failure if isinstance(optimizer, LBFGS) else None
        if before and not all(bool(torch.isfinite(parameter).all()) for parameter in self._trained()):
            failure = "it left the finite numbers"
            optimizer.state.clear()
            for parameter, value in zip(self._trained(), before, strict=True):
                parameter.copy_(value)
        if failure is None:
            return None
        failed, self.name = self.name, self._former
        with self._watched(self.optimizer, iteration):
            factor = slow_down(self.optimizer, optimizer)
        return said(f"{failed} failed: {failure}", factor)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must carry: which optimizer is in charge, the weighting, and our own L-BFGS."""
        own, loss = self._optimizers.get("lbfgs"), self._loss
        same = self._has_seen_the_same
        return {
            "in_charge": (self.name, self._former, self._last),
            "steps_of_others": self._steps_of_others,
            "sees_the_same": same,
            "seen_points": loss.points.detach().cpu().clone() if same and isinstance(own, LBFGS) else None,
            "lbfgs": own.state_dict() if isinstance(own, LBFGS) else None,
            "weighting": loss.changes.to_json() if isinstance(loss, PhysicsLoss) else None,
            "resampling": None if self._resampling is None else self._resampling.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`; the loss' state comes after it, as its weighting may be another."""
        self._steps_of_others = state["steps_of_others"]
        if state["lbfgs"] is not None:
            self._switch_to("lbfgs")
            self.optimizer.load_state_dict(state["lbfgs"])
            self._evaluations_of_ours = self._count_of_ours()
        self.name, self._former, self._last = state["in_charge"]
        restore_loss(self._loss, self._resampling, state)
        loss = self._loss
        self._seen = (loss.points, loss.weighting) if state.get("sees_the_same") else (None, None)
        # who moves the points may be restored after this
        self._seen_points = state.get("seen_points")

    def _switch_to(self, name: str) -> None:
        if name not in self._optimizers:
            self._optimizers[name] = LBFGS(self._trained(), is_fixed=lambda: self.is_fixed)
        if name != self.name:
            self.name, self._former = name, self.name

    def _watched(self, optimizer: torch.optim.Optimizer, iteration: int) -> AbstractContextManager[None]:
        """Have it said where a schedule undoes what is done to the learning rates of an optimizer."""
        self._changed = optimizer
        return self._rates_kept.watched(lambda: _rate(optimizer), iteration)

    def _count_of_ours(self) -> int:
        own = self._optimizers.get("lbfgs")
        return own.evaluations if isinstance(own, LBFGS) else 0

    def _keep(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the parameters with which the iteration began, where torch's own line searches may lose them."""
        if optimizer is self.optimizer and not self._before:
            self._before = [parameter.detach().clone() for parameter in self._trained()]

    def _trained(self) -> list[Tensor]:
        first = next(iter(self._optimizers.values()))
        return [parameter for group in first.param_groups for parameter in group["params"]]


def _rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0].get("lr") or 0.0)


def _hears(keep: Callable[[], Callable[[torch.optim.Optimizer], None] | None]) -> Callable[..., None]:
    """Return a hook of an optimizer that ends with who hears it."""

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        heard = keep()
        if heard is not None:
            heard(optimizer)

    return before_step


def weight_again(loss: PhysicsLoss, saved: Sequence[Any]) -> None:
    """Have a loss weighted as policies left it when a state was saved, which is to be loaded after this.

    Args:
        loss: the training's.
        saved: what was done to its weighting; of older states what it was changed to, and whether it was held.
    """
    is_older = isinstance(saved, tuple)
    change_again(loss, changes_of_older(*saved) if is_older else saved)


def restore_loss(loss: Any, resampling: Resampling | None, state: Mapping[str, Any]) -> None:
    """Have a loss weighted as policies left it, at the points of that time; the loss' own state comes after it.

    Args:
        loss: the training's.
        resampling: by which its points move.
        state: of `InCharge`.
    """
    if state["weighting"] is not None:
        weight_again(loss, state["weighting"])
    if resampling is not None and state.get("resampling") is not None:
        resampling.load_state_dict(state["resampling"])


def fix_of(policies: Mapping[str, Policy], resampling: Resampling | None) -> str:
    """Return what to do where an action of some policies cannot be carried out.

    Example:
        >>> fix_of({}, None)
        'Use another policy.'
    """
    if resampling is None and may_resample(policies):
        return "Say how points move: resampling=phasecore_torch.Resampling(loss_fn, 'uniform'), or another sampling."
    return "Use another policy."
