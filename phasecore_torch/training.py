"""The torch backend of `phasecore run`: a plain network, Adam, and the same parts that a user's own loop has."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from phasecore.backends import Backend, Observer, Settings, Training
from phasecore.errors import InputError
from phasecore.problems.finite import diverged
from phasecore.recording.schedule import is_due
from phasecore_torch import capture, loss
from phasecore_torch.capture import Capture
from phasecore_torch.checks import residuals_now
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.record import Snapshots, versions

SECONDS_BETWEEN_CHECKPOINTS = 30.0


@final
class TorchBackend(Backend):
    """Trains a fully connected tanh network with Adam, on the first accelerator if there is one, else on the CPU."""

    name: ClassVar[str] = "torch"
    supplies: ClassVar[frozenset[str]] = loss.SUPPLIES | capture.SUPPLIES

    def train(self, training: Training, observer: Observer, checkpoint: Path | None, *, resume: bool) -> None:
        """Train until `training.settings.iterations` are done, see `phasecore.backends.Backend.train`."""
        session = _Session(training)
        file = None if checkpoint is None else checkpoint / "state.pt"
        if resume:
            session.load(file)
        session.run(observer, file)

    def versions(self) -> Mapping[str, str]:
        """Return torch's version and the device."""
        return {**versions(), "device": str(_device())}


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


class _Session:
    """The parts of one training, and where it stands."""

    def __init__(self, training: Training) -> None:
        problem, settings = training.problem, training.settings
        self.training = training
        self.iteration = 0
        self.seconds = 0.0
        self.model = network(len(problem.coordinates), len(problem.outputs), settings).to(_device())
        self.loss = PhysicsLoss(
            problem, self.model, training.points, weighting=training.schemes, compiled=settings.compiled
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, settings.decay_interval, settings.decay_factor)
        self.capture = Capture(self.loss, self.optimizer, probes=training.probes, batches=settings.batches)
        self.snapshots = Snapshots(self.loss)

    def run(self, observer: Observer, file: Path | None) -> None:
        """Train to the end, telling the observer and saving checkpoints, the first before the first iteration.

        Nothing is saved where an exception interrupts an iteration: a saved state is always that of a whole iteration.
        """
        settings, snapshots = self.training.settings, set(self.training.snapshots)
        began = time.perf_counter() - self.seconds
        self._save(file)
        saved = time.perf_counter()
        while self.iteration < settings.iterations:
            value = self._step()
            due = is_due(self.iteration, settings.every) or self.iteration == settings.iterations
            snapshot = self.iteration in snapshots
            if due or snapshot or self.iteration % 50 == 0:
                self._check(value)
                self.seconds = time.perf_counter() - began
                observer.progressed(self.iteration, float(value))
            if due:
                observer.captured(self._row(began))
            if snapshot:
                observer.snapshot(self.iteration, self.snapshots.arrays())
            if time.perf_counter() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                self._save(file)
                saved = time.perf_counter()
        self._save(file)

    def _save(self, file: Path | None) -> None:
        """Write the state, in one step: a file that is there is whole."""
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        parts = self._parts()
        state = {"iteration": self.iteration, "seconds": self.seconds}
        temporary = file.with_suffix(".partial")
        torch.save(state | {name: part.state_dict() for name, part in parts.items()}, temporary)
        os.replace(temporary, file)

    def load(self, file: Path | None) -> None:
        """Go on from a saved state."""
        if file is None or not file.exists():
            raise InputError("resuming", received=f"no state at {file}", fix="Start anew in another output folder.")
        expected = "the state of a training with the same network, optimizer and weighting"
        try:
            state = torch.load(file, weights_only=True, map_location=_device())
        except Exception as error:
            kind = type(error).__name__
            raise InputError(f"resuming from {file}", received=f"a damaged file ({kind})", expected=expected) from error
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.iteration, self.seconds = int(state["iteration"]), float(state["seconds"])
        except Exception as error:
            raise InputError(
                f"resuming from {file}",
                received=f"{type(error).__name__}: {error}",
                expected=expected,
            ) from error

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler, "loss": self.loss}

    def _step(self) -> Tensor:
        self.optimizer.zero_grad()
        value: Tensor = self.loss()
        torch.autograd.backward(value)
        self.optimizer.step()
        self.scheduler.step()
        self.iteration += 1
        return value.detach()

    def _check(self, value: Tensor) -> None:
        if not bool(torch.isfinite(value)):
            self.loss.check_weights()
            residuals = residuals_now(self.loss)
            raise diverged(self.training.problem, self.iteration, self.loss.collocation, residuals, float(value))

    def _row(self, began: float) -> dict[str, float]:
        row = {"iteration": self.iteration, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        measured = self.capture.measure(self.iteration)
        self.seconds = time.perf_counter() - began
        return row | {"seconds": self.seconds} | measured


def _device() -> torch.device:
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
