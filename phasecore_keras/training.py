"""The Keras backend of `phasecore run`: a plain network, Adam, and the same parts that a user's own `fit` has."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

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
from phasecore.policies.going_back import gentle, said
from phasecore.probes import Probe
from phasecore.problems.finite import diverged
from phasecore.recording.untrusted import parsed, read_arrays
from phasecore.runs.session import Session
from phasecore.sampling import Resampler
from phasecore_keras import capture
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.capture import Capture
from phasecore_keras.checks import residuals_now
from phasecore_keras.model import PINN
from phasecore_keras.precision import computing_in
from phasecore_keras.record import Snapshots, versions
from phasecore_keras.second_order import without_adam
from phasecore_keras.steps import synchronize
from phasecore_keras.storing import change_again_as, changes_of, changes_of_before, hold
from phasecore_keras.threads import limit_threads

EPSILON = 1e-8
"""Adam's, as torch has it; Keras' own default is 1e-7."""


@final
class KerasBackend(Backend):
    """Trains a fully connected tanh network with Adam, on the backend that Keras was set to (KERAS_BACKEND).

    Policies may have it go on with L-BFGS, of which each step is one iteration.
    """

    name: ClassVar[str] = "keras"
    supplies: ClassVar[frozenset[str]] = losses.SUPPLIES | capture.SUPPLIES
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
        file = None if checkpoint is None else checkpoint / "state.npz"
        with computing_in(training.settings.precision):
            session = KerasSession(training)
            if resume:
                session.load(file)
            session.run(observer, file)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of Keras and of the framework that it runs on."""
        return versions()

    def limit_threads(self, count: int) -> None:
        """Use at most so many threads, see `phasecore.backends.Backend.limit_threads`."""
        limit_threads(count)


def network(inputs: int, outputs: int, settings: Settings) -> keras.Sequential:
    """Return a fully connected tanh network, Xavier normal weights and zero biases, the same for the same seed.

    The same on every backend of Keras, too.

    Example:
        >>> network(2, 1, Settings(iterations=1, points=10, width=8, depth=2))(ops.zeros((5, 2))).shape[1]
        1
    """
    generator = np.random.default_rng(settings.seed)
    sizes = [inputs, *[settings.width] * settings.depth, outputs]
    pairs = list(itertools.pairwise(sizes))
    layers = [keras.layers.Dense(size, activation="tanh") for _, size in pairs[:-1]]
    model = keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(outputs)])
    for layer, (size, next_size) in zip(model.layers, pairs, strict=True):
        deviation = math.sqrt(2.0 / (size + next_size))
        layer.kernel.assign(generator.normal(0.0, deviation, (size, next_size)).astype(layer.kernel.dtype))
    return model


@final
class KerasSession(Session):
    """The parts of one training, and where it stands."""

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        problem, settings = training.problem, training.settings
        if settings.compiled and keras.backend.backend() == "torch":
            raise InputError(
                "setting 'compiled'",
                received="True, with Keras on torch",
                expected="Keras on TensorFlow or JAX, which compile in any case",
                fix="Set KERAS_BACKEND, leave the setting out, or use the backend 'torch'.",
            )
        model = network(len(problem.coordinates), len(problem.outputs), settings)
        self.model = PINN(model, problem, weighting=training.schemes)
        self.factor = 1.0
        self.rate = self._schedule()
        self.model.compile(optimizer=keras.optimizers.Adam(self.rate, epsilon=EPSILON))
        self._train_on(self.model.points(training.points))
        self.model.optimizer.build(self.model.trainable_variables)
        self.capture = Capture(self.model, probes=training.probes, batches=settings.batches)
        self.snapshots = Snapshots(self.model)
        self.quasi_newton = self.model.quasi_newton
        self.in_charge = "adam"

    def step(self) -> float:
        """Make one iteration, and return its loss."""
        if self.in_charge == "lbfgs":
            return self._quasi_newton_step()
        self.evaluations = None if self.evaluations is None else self.evaluations + 1
        self.model.reset_metrics()
        return float(self.model.train_on_batch(self.batch, return_dict=True)["loss"])

    def check(self, loss: float) -> None:
        """Refuse to go on with weights or a loss that are not finite, see `Session.check`."""
        physics = self.model.physics
        physics.check_weights(self.iteration)
        if not math.isfinite(loss):
            assert physics.collocation is not None
            raise diverged(physics.problem, self.iteration, physics.collocation, residuals_now(physics), loss)

    def interior(self) -> NDArray[np.float64]:
        """Return where the collocation points are, shape (n, dimension)."""
        assert self.model.physics.collocation is not None
        return self.model.physics.collocation.interior

    def move(self, resampler: Resampler) -> None:
        """Move the collocation points."""
        points = resampler.move(self.interior(), self.model.physics.residuals_elsewhere, self.iteration)
        self._train_on(self.model.resample(points))

    def _train_on(self, points: Mapping[str, NDArray[Any]]) -> None:
        self.batch = {name: ops.convert_to_tensor(values) for name, values in points.items()}

    def carry_out(self, action: Action) -> None:
        """Do what a policy asks for, see `Session.carry_out`."""
        if isinstance(action, SwitchOptimizer):
            self._switch_to(action.optimizer)
        elif isinstance(action, SetLearningRate | ScaleLearningRate):
            now = self._rate_now()
            rate = action.rate if isinstance(action, SetLearningRate) else action.factor * now
            self.factor *= rate / now
            self._take_schedule()
        elif isinstance(action, ChangeWeighting):
            self._change_weighting(action.weighting)
        else:
            hold(self.model, action)

    def learning_rate(self) -> float | None:
        """Return the learning rate of the next iteration, or None where the optimizer in charge has none."""
        return self._rate_now() if self.in_charge == "adam" else None

    def measure(self, due: Sequence[Probe]) -> Mapping[str, float]:
        """Return the scalars of those of the training's probes that are due; Adam's where Adam is in charge."""
        if self.in_charge != "adam":
            due = without_adam(due)
        return self.capture.measure(self.iteration, due)

    def arrays(self) -> Mapping[str, Any]:
        """Return fields, residuals and weights by name, for a snapshot."""
        return self.snapshots.arrays()

    def write(self, stream: BinaryIO, standing: Mapping[str, Any]) -> None:
        """Write the state of all parts, and where the training stands."""
        synchronize(self.model)
        arrays = {f"variable_{k}": to_numpy(variable.value) for k, variable in enumerate(self._variables())}
        if self.resampler is not None:
            arrays["points"] = self.interior()
        if self.training.policies:
            weighting = changes_of(self.model)
            acted = {"in_charge": self.in_charge, "weighting": weighting, "factor": self.factor}
            standing = {**standing, "acted": {**acted, "quasi_newton_steps": self.quasi_newton.steps}}
        arrays |= {f"lbfgs_{name}": array for name, array in self.quasi_newton.state_dict().items()}
        written = np.asarray(json.dumps(standing))
        np.savez(stream, standing=written, **arrays)  # type: ignore[arg-type, unused-ignore]

    def read(self, file: Path) -> Mapping[str, Any]:
        """Restore the state of all parts, and return where the training stood."""
        state = read_arrays(file, most=max(file.stat().st_size, 2**20))
        standing: dict[str, Any] = parsed(str(state["standing"]))
        if self.resampler is not None:
            # before the weights, of which there are as many
            self._train_on(self.model.resample(state["points"]))
        self._act_again(standing.get("acted"))
        variables = self._variables()
        prefix = "lbfgs_"
        lbfgs = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
        found = sum(name.startswith("variable_") for name in state)
        if found != len(variables):
            raise ValueError(f"{found} variables in place of {len(variables)}")
        arrays = [state[f"variable_{k}"] for k in range(len(variables))]
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.quasi_newton.load_state_dict(lbfgs, (standing.get("acted") or {}).get("quasi_newton_steps", 0))
        return standing

    def _variables(self) -> list[Any]:
        model = self.model
        weighting = [*model.weighting.variables, *model.attention.variables]
        return [*model.network.variables, *model.physics.held, *weighting, *model.optimizer.variables]

    def _act_again(self, acted: Mapping[str, Any] | None) -> None:
        """Bring about what policies had done before the state was saved."""
        if acted is None:
            return
        self._weight_again(acted["weighting"])
        self.in_charge = acted["in_charge"]
        if acted["factor"] != self.factor:
            self.factor = acted["factor"]
            self._take_schedule()

    def _weight_again(self, saved: Any) -> None:
        if not isinstance(saved, Mapping):  # what the weighting was in the end, as older states tell it
            changed_to = None if saved[0] == self.model.made_with else saved[0]
            saved = changes_of_before(self.model, changed_to, saved[1])
        before = self.model.weighting
        change_again_as(self.model, saved)
        if self.model.weighting is not before:
            self._read_weighting()

    def _change_weighting(self, specification: str) -> None:
        """Change the weighting, and compile anew what reads it."""
        self.model.change_weighting(specification)
        self._read_weighting()

    def _read_weighting(self) -> None:
        self.capture = Capture(self.model, probes=self.training.probes, batches=self.training.settings.batches)

    def _schedule(self) -> Any:
        settings = self.training.settings
        return keras.optimizers.schedules.ExponentialDecay(
            self.factor * settings.learning_rate, settings.decay_interval, settings.decay_factor, staircase=True
        )

    def _take_schedule(self) -> None:
        self.rate = self._schedule()
        self.model.optimizer.learning_rate = self.rate
        self.model.make_train_function(force=True)

    def _rate_now(self) -> float:
        return float(to_numpy(ops.convert_to_tensor(self.rate(self.iteration - self.quasi_newton.steps))))

    def _switch_to(self, optimizer: str) -> None:
        self.in_charge = optimizer
        if optimizer == "lbfgs" and self.quasi_newton.lbfgs is None:
            self.quasi_newton.prepare()
            self.evaluations = self.iteration

    def _quasi_newton_step(self) -> float:
        """One step of L-BFGS; where it fails, Adam makes it, from where it began."""
        lbfgs = self.quasi_newton.prepare()
        assert self.evaluations is not None
        before = lbfgs.evaluations
        value = self.quasi_newton.step(self.iteration)
        self.evaluations += lbfgs.evaluations - before
        if value is None:
            self.in_charge = "adam"
            factor = gentle(lbfgs.length, self._rate_now(), lbfgs.has_won)
            if factor < 1.0:
                self.factor *= factor
                self._take_schedule()
            self.went_back(self.iteration + 1, "adam", said(f"L-BFGS failed: {lbfgs.failure}", factor))
            return self.step()
        return value
