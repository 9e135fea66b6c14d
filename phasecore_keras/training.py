"""The Keras backend of `phasecore run`: a plain network, Adam, and the same parts that a user's own `fit` has."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import keras
import numpy as np
from keras import ops

from phasecore.backends import Backend, Observer, Settings, Training
from phasecore.errors import InputError
from phasecore.problems.finite import diverged
from phasecore.recording.schedule import is_due
from phasecore_keras import capture, loss
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.capture import Capture
from phasecore_keras.checks import residuals_now
from phasecore_keras.model import PINN
from phasecore_keras.record import Snapshots, versions
from phasecore_keras.steps import synchronize

SECONDS_BETWEEN_CHECKPOINTS = 30.0
EPSILON = 1e-8
"""Adam's, as torch has it; Keras' own default is 1e-7."""


@final
class KerasBackend(Backend):
    """Trains a fully connected tanh network with Adam, on the backend that Keras was set to (KERAS_BACKEND)."""

    name: ClassVar[str] = "keras"
    supplies: ClassVar[frozenset[str]] = loss.SUPPLIES | capture.SUPPLIES

    def train(self, training: Training, observer: Observer, checkpoint: Path | None, *, resume: bool) -> None:
        """Train until `training.settings.iterations` are done, see `phasecore.backends.Backend.train`."""
        session = _Session(training)
        file = None if checkpoint is None else checkpoint / "state.npz"
        if resume:
            session.load(file)
        session.run(observer, file)

    def versions(self) -> Mapping[str, str]:
        """Return the versions of Keras and of the framework that it runs on."""
        return versions()


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


class _Session:
    """The parts of one training, and where it stands."""

    def __init__(self, training: Training) -> None:
        problem, settings = training.problem, training.settings
        if settings.compiled and keras.backend.backend() == "torch":
            raise InputError(
                "setting 'compiled'",
                received="True, with Keras on torch",
                expected="Keras on TensorFlow or JAX, which compile in any case",
                fix="Set KERAS_BACKEND, leave the setting out, or use the backend 'torch'.",
            )
        self.training = training
        self.iteration = 0
        self.seconds = 0.0
        model = network(len(problem.coordinates), len(problem.outputs), settings)
        self.model = PINN(model, problem, weighting=training.schemes)
        self.rate = keras.optimizers.schedules.ExponentialDecay(
            settings.learning_rate, settings.decay_interval, settings.decay_factor, staircase=True
        )
        self.model.compile(optimizer=keras.optimizers.Adam(self.rate, epsilon=EPSILON))
        points = self.model.points(training.points)
        self.batch = {name: ops.convert_to_tensor(values) for name, values in points.items()}
        self.model.optimizer.build(self.model.trainable_variables)
        self.capture = Capture(self.model, probes=training.probes, batches=settings.batches)
        self.snapshots = Snapshots(self.model)

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
                observer.progressed(self.iteration, value)
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
        synchronize(self.model)
        arrays = {f"variable_{k}": to_numpy(variable.value) for k, variable in enumerate(self._variables())}
        standing = json.dumps({"iteration": self.iteration, "seconds": self.seconds})
        temporary = file.with_suffix(".partial")
        with temporary.open("wb") as stream:
            np.savez(stream, standing=np.asarray(standing), **arrays)  # type: ignore[arg-type, unused-ignore]
        os.replace(temporary, file)

    def load(self, file: Path | None) -> None:
        """Go on from a saved state."""
        if file is None or not file.exists():
            raise InputError("resuming", received=f"no state at {file}", fix="Start anew in another output folder.")
        try:
            with np.load(file, allow_pickle=False) as state:
                standing = json.loads(str(state["standing"]))
                variables = self._variables()
                arrays = [state[f"variable_{k}"] for k in range(len(variables))]
                if len(state.files) != len(variables) + 1:
                    raise ValueError(f"{len(state.files) - 1} variables in place of {len(variables)}")
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
            self.iteration, self.seconds = int(standing["iteration"]), float(standing["seconds"])
        except Exception as error:
            raise InputError(
                f"resuming from {file}",
                received=f"{type(error).__name__}: {error}",
                expected="the state of a training with the same network, optimizer and weighting",
            ) from error

    def _variables(self) -> list[Any]:
        model = self.model
        weighting = [*model.weighting.variables, *model.attention.variables]
        return [*model.network.variables, *model.physics.held, *weighting, *model.optimizer.variables]

    def _step(self) -> float:
        self.model.reset_metrics()
        logs = self.model.train_on_batch(self.batch, return_dict=True)
        self.iteration += 1
        return float(logs["loss"])

    def _check(self, value: float) -> None:
        self.model.physics.check_weights(self.iteration)
        if not math.isfinite(value):
            physics = self.model.physics
            assert physics.collocation is not None
            raise diverged(physics.problem, self.iteration, physics.collocation, residuals_now(physics), value)

    def _row(self, began: float) -> dict[str, float]:
        rate = float(to_numpy(ops.convert_to_tensor(self.rate(self.iteration))))
        row = {"iteration": self.iteration, "learning_rate": rate}
        measured = self.capture.measure(self.iteration)
        self.seconds = time.perf_counter() - began
        return row | {"seconds": self.seconds} | measured
