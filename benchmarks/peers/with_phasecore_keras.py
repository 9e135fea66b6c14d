"""phasecore's `PINN.fit` on Keras' backend (KERAS_BACKEND), all points in one batch, with residual-based attention."""

from __future__ import annotations

import math
import time
from typing import Any

import keras

import phasecore_keras
from benchmarks.peers.cases import collocation_points, problem_of
from benchmarks.peers.contender import Arrays, Contender, layers, sizes

EPSILON = 1e-8 * math.sqrt(1 - 0.999)
"""Keras adds Adam's epsilon before it corrects the bias of the moments: with this one the first step is torch's."""


class EpochClock(keras.callbacks.Callback):
    """Notes when each epoch, which is one step, ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


class PhasecoreKeras(Contender):
    """See the module."""

    def __init__(self, problem: str, arrays: Arrays) -> None:
        keras.backend.clear_session()
        inputs, *hidden, outputs = sizes(arrays)
        dense = [keras.layers.Dense(width, activation="tanh") for width in hidden]
        network = keras.Sequential([keras.Input((inputs,)), *dense, keras.layers.Dense(outputs)])
        network.set_weights([array for pair in layers(arrays) for array in pair])
        self.pinn = phasecore_keras.PINN(network, problem_of(problem), weighting="rba")
        self.pinn.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=EPSILON))
        self.data = self.pinn.points(collocation_points(arrays))

    def losses(self) -> dict[str, float]:
        """See `Contender`."""
        coordinates = keras.ops.convert_to_tensor(self.data["coordinates"])
        found = self.pinn.physics.evaluate(coordinates).unweighted
        return {term: float(keras.ops.convert_to_numpy(loss)) for term, loss in found.items()}

    def train(self, steps: int) -> float:
        """See `Contender`; `fit` sets itself up in its first epoch, which is not counted if there are more."""
        clock = EpochClock()
        began = time.perf_counter()
        self.pinn.fit(self.data, epochs=steps, verbose=0, callbacks=[clock])
        began, *ends = clock.ends if steps > 1 else [began, *clock.ends]
        return (ends[-1] - began) / len(ends)
