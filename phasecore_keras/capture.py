"""One capture: the signals of a Keras training at an iteration, and what the probes make of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar, final

from phasecore.errors import InputError
from phasecore.monitoring import capture
from phasecore.monitoring.sources import Source
from phasecore.signals import (
    ADAM_LEARNING_RATES,
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
)
from phasecore_keras.model import PINN
from phasecore_keras.optimizers import adam_learning_rates, adam_moments, keeps_adam, keeps_learning_rates
from phasecore_keras.points import Batches
from phasecore_keras.reading import named_variables
from phasecore_keras.sources import BatchLoss, CustomSource, PhysicsSource
from phasecore_keras.steps import steps_done, synchronize

Probes = capture.Probes

SUPPLIES = PhysicsSource.can_supply | {ADAM_MOMENTS, ADAM_LEARNING_RATES}
"""Signals that a probe can require of this backend."""

STEPS = ("train_step", "make_train_function")
"""Methods of Keras' models that say what a step of training is."""


@final
class Capture(capture.Capture):
    """Measures probes at the current state of a training, without changing it.

    Args:
        model: a compiled and built `PINN`, or any compiled and built Keras model with `points`.
        loss: for a model whose `train_step` is its own: from a batch of `points` to its mean loss, see `PhaseMonitor`.
        points: for a model that is no PINN: `(inputs, targets)` or `(inputs, targets, sample_weight)`, or what `loss`
            takes; see `phasecore_keras.points.Batches` for what they may consist of.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics: contiguous blocks of the points, as equal as can be.
        biases: count the biases, and everything else below two axes, among the variables of the gradient statistics
            too. Adam's statistics count all that is trained.

    Raises:
        InputError: for a model without optimizer or before it is built, or with a `train_step` of its own and no
            `loss`; a loss that is no scalar or has no gradient; a probe whose signals are not there; other points than
            those, or too few; or a model without weight matrices.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer="sgd", loss="mse")
        >>> x = np.linspace(0, 1, 200)[:, None]
        >>> capture = Capture(model, points=(x, np.sin(x)))
        >>> 0 <= capture.measure()["gradient_order"] <= 1
        True
    """

    backend: ClassVar[str] = "keras"
    fix: ClassVar[str] = "Use a PINN, or an optimizer of the Adam family for 'adam_...', or drop the probe."

    def __init__(
        self,
        model: Any,
        *,
        loss: BatchLoss | None = None,
        points: Any = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
    ) -> None:
        _check_model(model)
        _check_loss(model, loss, points)
        self._model = model
        self._layers = {f"layer{k}": variable for k, variable in enumerate(_variables(model, biases))}
        self._source: Source
        if isinstance(model, PINN):
            self._source = PhysicsSource(model, self._layers, batches)
        else:
            points = points if isinstance(points, Batches) else Batches(points, batches)
            self._source = CustomSource(model, self._layers, points, loss)
        adam = {
            "keeps_adam": keeps_adam(model.optimizer),
            "keeps_learning_rates": keeps_learning_rates(model.optimizer),
        }
        self._begin(self._source, probes, **adam)

    def _values(self, required: frozenset[str]) -> dict[str, Any]:
        synchronize(self._model)
        if isinstance(self._model, PINN):
            self._model.physics.check_weights(steps_done(self._model) if self._model.optimizer.built else 0)
        values: dict[str, Any] = {}
        if required & {ADAM_MOMENTS, ADAM_LEARNING_RATES}:
            values |= self._of_adam()
        source = self._source
        first = source.weighted_as_in_first_step() if isinstance(source, PhysicsSource) else contextlib.nullcontext()
        with first:
            values |= source.signals(required)
            if BATCH_GRADIENT_MOMENTS in required:
                values[BATCH_GRADIENT_MOMENTS] = source.gradient_moments()
        return values

    def _coefficients(self) -> Mapping[str, Any]:
        return self._model.physics.coefficients() if isinstance(self._model, PINN) else {}

    def _of_adam(self) -> dict[str, Any]:
        """What Adam keeps of all that it trains, matrices by the name of their layer; nothing before its first step."""
        optimizer = self._model.optimizer
        layers = {id(variable): layer for layer, variable in self._layers.items()}
        named = named_variables(self._model.trainable_variables)
        named = {layers.get(id(variable), name): variable for name, variable in named.items()}
        values = {}
        for signal, read in ((ADAM_MOMENTS, adam_moments), (ADAM_LEARNING_RATES, adam_learning_rates)):
            found = {name: read(optimizer, variable) for name, variable in named.items()}
            values[signal] = {name: own for name, own in found.items() if own is not None}
        return {signal: found for signal, found in values.items() if found}


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


def _check_loss(model: Any, loss: BatchLoss | None, points: Any) -> None:
    if isinstance(model, PINN):
        for name, value in {"points": points, "loss": loss}.items():
            if value is not None:
                raise InputError(f"argument {name!r}", received=f"{name} beside a PINN", expected=f"its own {name}")
        return
    own = [name for name in STEPS if not _is_of_keras(model, name)]
    if loss is None and own:
        raise InputError(
            f"monitoring a model with a {own[0]!r} of its own",
            received="no loss: what such a step minimizes need not be the loss that the model was compiled with",
            expected="loss=, a function from a batch of points to its mean loss",
            fix="Pass the function that the step differentiates: loss=batch_loss, points=points.",
        )
    if loss is not None and not callable(loss):
        raise InputError(
            "argument 'loss'", received=repr(loss), expected="a function from a batch of points to its mean loss"
        )
    if points is None:
        raise InputError(
            "monitoring a model that is no PINN",
            received="no points",
            expected="points=(inputs, targets) or (inputs, targets, sample_weight), or of a loss= what it takes",
        )


def _is_of_keras(model: Any, name: str) -> bool:
    owner = next(kind for kind in type(model).__mro__ if name in vars(kind))
    return name not in vars(model) and owner.__module__.partition(".")[0] == "keras"


def _variables(model: Any, biases: bool) -> list[Any]:
    """The variables of the gradient statistics: of a PINN its network's, and not what is trained beside that."""
    network = model.network if isinstance(model, PINN) else model
    chosen = [v for v in network.trainable_variables if biases or len(v.shape) >= 2]
    if not chosen:
        raise InputError(
            "gradient statistics",
            received="no trainable weight matrix",
            expected="a model with trainable variables of two axes or more",
            fix="Pass biases=True to count all variables.",
        )
    return chosen
