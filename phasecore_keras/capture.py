"""One capture: the signals of a Keras training at an iteration, and what the probes make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.probes import Probe
from phasecore.runs.measuring import Measuring
from phasecore.runs.monitoring import choose_probes
from phasecore.signals import (
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
    AdamMoments,
)
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.internals import adam_moments
from phasecore_keras.model import PINN
from phasecore_keras.sources import CustomSource, PhysicsSource, Source
from phasecore_keras.steps import inner, steps_done, synchronize

Probes = Sequence[str | Probe]
Arrays = dict[str, NDArray[Any]]

SUPPLIES = PhysicsSource.can_supply | {ADAM_MOMENTS}
"""Signals that a probe can require of this backend."""


@final
class Capture:
    """Measures probes at the current state of a training, without changing it.

    Args:
        model: a compiled and built `PINN`, or any compiled and built Keras model with `points`.
        points: for a model that is no PINN: `(inputs, targets)` or `(inputs, targets, sample_weight)`, arrays or
            structures of arrays that are cut into batches along the first axis.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics: contiguous blocks of the points, as equal as can be.
        biases: count the biases, and everything else below two axes, among the variables of the statistics too.

    Raises:
        InputError: for a model without optimizer or before it is built, a probe whose signals are not there, too few
            points, or a model without weight matrices.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer="sgd", loss="mse")
        >>> x = np.linspace(0, 1, 200)[:, None]
        >>> capture = Capture(model, points=(x, np.sin(x)))
        >>> 0 <= capture.measure()["gradient_order"] <= 1
        True
    """

    def __init__(
        self,
        model: Any,
        *,
        points: Any = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
    ) -> None:
        _check_model(model)
        self._model = model
        variables = _variables(model, biases)
        self._layers = {f"layer{k}": variable for k, variable in enumerate(variables)}
        self._source: Source
        if isinstance(model, PINN):
            if points is not None:
                raise InputError("argument 'points'", received="points beside a PINN", expected="its own points")
            self._source = PhysicsSource(model, variables, batches)
        else:
            self._source = CustomSource(model, variables, batches, points)
        self.probes = self._choose(probes)
        self._measuring = Measuring(self.probes)
        self._required = frozenset().union(*(probe.requires for probe in self.probes))
        self._source.prepare(self._required)

    def measure(self, iteration: int | None = None) -> dict[str, float]:
        """Return the scalars of all probes at the current state.

        Args:
            iteration: optimizer steps done, for messages.
        """
        return self._measuring.row(self._values(), iteration)

    def names(self) -> list[str]:
        """Return the names of what `measure` returns once the optimizer has made a step."""
        values = self._values()
        if ADAM_MOMENTS in self._required and ADAM_MOMENTS not in values:
            blank = {layer: np.zeros(tuple(variable.shape)) for layer, variable in self._layers.items()}
            values[ADAM_MOMENTS] = {layer: AdamMoments(zeros, zeros) for layer, zeros in blank.items()}
        return list(self._measuring.row(values))

    def _values(self) -> dict[str, Any]:
        synchronize(self._model)
        if isinstance(self._model, PINN):
            self._model.physics.check_weights(steps_done(self._model) if self._model.optimizer.built else 0)
        values: dict[str, Any] = {}
        if ADAM_MOMENTS in self._required:
            moments = self._adam_moments()
            if moments is not None:
                values[ADAM_MOMENTS] = moments
        values |= self._source.signals(self._required)
        if BATCH_GRADIENT_MOMENTS in self._required:
            values[BATCH_GRADIENT_MOMENTS] = dict(zip(self._layers, self._source.gradient_moments(), strict=True))
        return values

    def _choose(self, probes: Probes | None) -> list[Probe]:
        supplied = self._source.supplies
        if hasattr(inner(self._model.optimizer), "beta_2"):
            supplied = supplied | {ADAM_MOMENTS}
        fix = "Use a PINN, or an optimizer of the Adam family for 'adam_moments', or drop the probe."
        return choose_probes(probes, supplied, "keras", fix=fix)

    def _adam_moments(self) -> dict[str, AdamMoments] | None:
        """Bias-corrected moments, or None before the optimizer's first step."""
        optimizer = inner(self._model.optimizer)
        step = steps_done(self._model) if optimizer.built else 0
        if not step:
            return None
        moments = {}
        for layer, variable in self._layers.items():
            first, second = (to_numpy(v.value) for v in adam_moments(optimizer, variable))
            moments[layer] = AdamMoments(first / (1 - optimizer.beta_1**step), second / (1 - optimizer.beta_2**step))
        return moments


def _check_model(model: Any) -> None:
    if getattr(model, "optimizer", None) is None:
        raise InputError(
            "monitoring a model",
            received="a model without an optimizer",
            expected="a compiled Keras model",
            fix="Call model.compile(optimizer=...) first.",
        )
    if not model.built:
        raise InputError(
            "monitoring a model",
            received="a model that is not built: it has no variables yet",
            expected="a built Keras model",
            fix="Start it with keras.Input(shape), or call it on a batch, before fit.",
        )


def _variables(model: Any, biases: bool) -> list[Any]:
    chosen = [v for v in model.trainable_variables if biases or len(v.shape) >= 2]
    if not chosen:
        raise InputError(
            "gradient statistics",
            received="no trainable weight matrix",
            expected="a model with trainable variables of two axes or more",
            fix="Pass biases=True to count all variables.",
        )
    return chosen
