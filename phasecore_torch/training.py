"""The torch backend of `phasecore run`: a plain network, Adam, and the same parts that a user's own loop has."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore import losses
from phasecore.backends import Backend, Observer, Settings, Training
from phasecore.errors import InputError
from phasecore.policies.actions import (
    Action,
    ChangeWeighting,
    ScaleLearningRate,
    SetLearningRate,
    SwitchOptimizer,
)
from phasecore.policies.going_back import said
from phasecore.probes import Probe
from phasecore.problems import CollocationPoints
from phasecore.problems.finite import diverged
from phasecore.recording.untrusted import check_archive
from phasecore.runs.session import EXPECTED, Session
from phasecore.sampling import Resampler
from phasecore_torch import capture
from phasecore_torch.acting import slow_down, weight_again
from phasecore_torch.capture import Capture
from phasecore_torch.checks import residuals_now
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.processes import is_first, of_all, processes, rank, summed
from phasecore_torch.quasi_newton import LBFGS
from phasecore_torch.rates import change_rates
from phasecore_torch.record import Snapshots, versions
from phasecore_torch.workers import train_in_processes


@final
class TorchBackend(Backend):
    """Trains a fully connected tanh network with Adam, on the first accelerator if there is one, else on the CPU.

    Policies may have it go on with L-BFGS, of which each step is one iteration.
    """

    name: ClassVar[str] = "torch"
    supplies: ClassVar[frozenset[str]] = losses.SUPPLIES | capture.SUPPLIES
    takes_processes: ClassVar[bool] = True
    takes_precision: ClassVar[bool] = True
    moves_points: ClassVar[bool] = True
    actions: ClassVar[frozenset[str]] = frozenset(
        {
            *("switch_optimizer:adam", "switch_optimizer:lbfgs", "set_learning_rate", "scale_learning_rate"),
            *("hold_weighting", "average_weighting", "release_weighting", "change_weighting"),
            *("resample", "snapshot", "stop", "call"),
        }
    )

    def train(self, training: Training, observer: Observer, checkpoint: Path | None, *, resume: bool) -> None:
        """Train until `training.settings.iterations` are done, see `phasecore.backends.Backend.train`."""
        train_in_processes(_train, training, observer, checkpoint, resume)

    def versions(self) -> Mapping[str, str]:
        """Return torch's version and the device."""
        return {**versions(), "device": str(_device())}

    def limit_threads(self, count: int) -> None:
        """Use at most so many threads, see `phasecore.backends.Backend.limit_threads`."""
        torch.set_num_threads(min(count, torch.get_num_threads()))


def _train(training: Training, observer: Observer, checkpoint: Path | None, resume: bool) -> None:
    """Train in this process, with the points that are its own."""
    session = TorchSession(training)
    file = None if checkpoint is None else checkpoint / "state.pt"
    if resume:
        session.load(file)
    session.run(observer, file)


def network(inputs: int, outputs: int, settings: Settings) -> nn.Sequential:
    """Return a fully connected tanh network, Xavier normal weights and zero biases, the same for the same seed.

    Example:
        >>> network(2, 1, Settings(iterations=1, points=10, width=8, depth=2))(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """
    generator = torch.Generator().manual_seed(settings.seed)
    sizes = [inputs, *[settings.width] * settings.depth, outputs]
    layers: list[nn.Module] = []
    for size, next_size in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, size, next_size)  # type: ignore[no-untyped-call]
        nn.init.xavier_normal_(linear.weight, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@final
class TorchSession(Session):
    """The parts of one training, and where it stands."""

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        problem, settings = training.problem, training.settings
        dtype = None if settings.precision is None else getattr(torch, settings.precision)
        self.model = network(len(problem.coordinates), len(problem.outputs), settings).to(_device(), dtype)
        self.loss = PhysicsLoss(
            problem, self.model, training.points, weighting=training.schemes, compiled=settings.compiled
        )
        self.optimizer = torch.optim.Adam(self.loss.parameter_groups(), lr=settings.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, settings.decay_interval, settings.decay_factor)
        self.capture = Capture(self.loss, self.optimizer, probes=training.probes, batches=settings.batches)
        self.snapshots = Snapshots(self.loss)
        self.lbfgs: LBFGS | None = None
        self.in_charge = "adam"
        self.seen: tuple[Any, Any] = (None, None)
        self.losses: list[dict[str, Tensor]] = []

    def step(self) -> Tensor:
        """Make one iteration, and return its loss, a scalar tensor."""
        if self.in_charge == "lbfgs":
            return self._quasi_newton_step()
        value = self._evaluated()
        self.optimizer.step()
        self.scheduler.step()
        self.evaluations = None if self.evaluations is None else self.evaluations + 1
        return value.detach()

    def carry_out(self, action: Action) -> None:
        """Do what a policy asks for, see `Session.carry_out`."""
        if isinstance(action, SwitchOptimizer):
            self._switch_to(action.optimizer)
        elif isinstance(action, SetLearningRate | ScaleLearningRate):
            change_rates(self.optimizer, action)
        elif isinstance(action, ChangeWeighting):
            self.loss.change_weighting(action.weighting)
        else:
            self.loss.hold_weighting(action)
            self.seen = (None, None)

    def check(self, loss: Tensor) -> None:
        """Refuse to go on with weights or a loss that are not finite, see `Session.check`."""
        if not bool(torch.isfinite(loss)):
            self.loss.check_weights(self.iteration)
            found = of_all((self.loss.collocation, residuals_now(self.loss)))
            points, residuals = next(filter(_has_lost, found), found[0])
            raise diverged(self.training.problem, self.iteration, points, residuals, float(loss))

    def interior(self) -> NDArray[np.float64]:
        """Return where the collocation points are, shape (n, dimension)."""
        return self.loss.collocation.interior

    def move(self, resampler: Resampler) -> None:
        """Move the collocation points."""
        self.loss.resample(resampler.move(self.interior(), self.loss.residuals_elsewhere, self.iteration))

    def learning_rate(self) -> float | None:
        """Return the learning rate of the next iteration, or None where the optimizer in charge has none."""
        return float(self.optimizer.param_groups[0]["lr"]) if self.in_charge == "adam" else None

    def measure(self, due: Sequence[Probe]) -> Mapping[str, float]:
        """Return the scalars of those of the training's probes that are due."""
        return self.capture.measure(self.iteration, due)

    def arrays(self) -> Mapping[str, Any]:
        """Return fields, residuals and weights by name, for a snapshot."""
        return self.snapshots.arrays()

    def write(self, stream: BinaryIO, standing: Mapping[str, Any]) -> None:
        """Write the state of all parts, and where the training stands."""
        state = {**standing, **{name: part.state_dict() for name, part in self._parts().items()}}
        if self.losses:
            state["loss"] = self.losses
        if self.resampler is not None:
            state["points"] = torch.from_numpy(self.interior())
        if self.training.policies:
            weighting = self.loss.changes.to_json()
            quasi_newton = self.lbfgs is not None
            acted = {"in_charge": self.in_charge, "weighting": weighting, "quasi_newton": quasi_newton}
            state["acted"] = {**acted, "sees_the_same": self._sees_the_same()}
        torch.save(state, stream)

    def read(self, file: Path) -> Mapping[str, Any]:
        """Restore the state of all parts, and return where the training stood."""
        try:
            # torch packs nothing: what declares more than the file holds is none of its files
            check_archive(file, most=file.stat().st_size)
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location=_device())
        except Exception as error:
            received = f"a damaged file ({type(error).__name__})"
            raise InputError(f"resuming from {file}", received=received, expected=EXPECTED) from error
        if self.resampler is not None:
            # before the weights, of which there are as many
            self.loss.resample(state["points"].cpu().numpy())
        acted = state.get("acted")
        if acted is not None:
            weight_again(self.loss, acted["weighting"])
            self.in_charge = acted["in_charge"]
            self.lbfgs = self._make_lbfgs() if acted["quasi_newton"] else None
            same = acted.get("sees_the_same", self.resampler is None)
            self.seen = (self.loss.points, self.loss.weighting) if same else (None, None)
        for name, part in self._parts().items():
            own = state[name]
            try:
                part.load_state_dict(own[rank()] if name == "loss" and processes() > 1 else own)
            except InputError as error:
                raise InputError(f"resuming from {file}", received=f"a {error}", expected=EXPECTED) from error
        return state

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "loss": self.loss}
        return parts if self.lbfgs is None else {**parts, "lbfgs": self.lbfgs}

    def agreed(self, wishes: Sequence[bool]) -> Sequence[bool]:
        """Return what any of the processes wishes for."""
        if processes() == 1:
            return wishes
        every = summed({"wishes": torch.tensor(wishes, dtype=torch.float32, device=_device())})["wishes"]
        return [bool(wish) for wish in every]

    def _save(self, file: Path | None) -> None:
        """Save the state of all processes, of whose loss each has the weights of its points."""
        if processes() > 1 and file is not None:
            self.losses = of_all({name: own.cpu() for name, own in self.loss.state_dict().items()})
        if is_first():
            super()._save(file)

    def _evaluated(self) -> Tensor:
        """The loss, whose gradient is there, of all processes' points."""
        self.optimizer.zero_grad()
        value: Tensor = self.loss()
        torch.autograd.backward(value)
        if processes() == 1:
            return value
        held = [own for group in self.optimizer.param_groups for own in group["params"] if own.grad is not None]
        means = summed({"": value.detach(), **{f"{k}": own.grad for k, own in enumerate(held)}}, 1.0 / processes())
        for k, own in enumerate(held):
            own.grad = means[f"{k}"]
        return means[""]

    def _switch_to(self, optimizer: str) -> None:
        self.in_charge = optimizer
        if optimizer == "lbfgs" and self.lbfgs is None:
            self.lbfgs = self._make_lbfgs()
            self.evaluations = self.iteration

    def _make_lbfgs(self) -> LBFGS:
        return LBFGS(
            [*self.model.parameters(), *self.loss.parameters()],
            is_fixed=lambda: self._sees_the_same() and not self.loss.weighting.moves,
        )

    def _sees_the_same(self) -> bool:
        """Whether the loss has the points and the schemes of the last step of L-BFGS."""
        return self.loss.points is self.seen[0] and self.loss.weighting is self.seen[1]

    def _quasi_newton_step(self) -> Tensor:
        """One step of L-BFGS; where it fails, Adam makes it, from where it began."""
        assert self.lbfgs is not None
        assert self.evaluations is not None
        before = self.lbfgs.evaluations
        value = self.lbfgs.step(self._evaluated)
        self.seen = self.loss.points, self.loss.weighting
        self.evaluations += self.lbfgs.evaluations - before
        if self.lbfgs.failure is not None:
            self.in_charge = "adam"
            told = said(f"L-BFGS failed: {self.lbfgs.failure}", slow_down(self.optimizer, self.lbfgs))
            self.went_back(self.iteration + 1, "adam", told)
            return self.step()
        return value


def _has_lost(found: tuple[CollocationPoints, Mapping[str, NDArray[Any]]]) -> bool:
    return not all(np.isfinite(residual).all() for residual in found[1].values())


def _device() -> torch.device:
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
