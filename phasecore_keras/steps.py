"""How many steps an optimizer has done, without waiting for it at each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import keras

from phasecore.errors import InputError
from phasecore_keras import internals
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.internals import inner
from phasecore_keras.reading import others_than


def steps_done(model: Any) -> int:
    """Return the number of updates of the variables that the optimizer of a model has made."""
    return _raw_steps(model) // _accumulated(model)


def ready_optimizer(model: Any) -> None:
    """Have an optimizer that knows the variables that are trained, before the first step.

    TensorFlow traces a function that makes variables twice, and the first step makes the optimizer's where there are
    none yet. JAX has them made before, and torch traces nothing.

    Raises:
        InputError: naming variables that the optimizer does not know: it was made for others.
    """
    optimizer, trained = model.optimizer, model.trainable_variables
    if optimizer is None:
        return
    if optimizer.built:
        _check(optimizer, trained)
    elif keras.backend.backend() == "tensorflow" and trained:
        with model.distribute_strategy.scope():
            optimizer.build(trained)


def _check(optimizer: Any, trained: Sequence[Any]) -> None:
    unknown = others_than(trained, internals.variables_of(inner(optimizer)))
    if unknown:
        raise InputError(
            "training a PINN",
            received=f"trainable variables that its optimizer does not know: {[v.path for v in unknown]}",
            expected="those of the last compile()",
            fix="Call compile() again, with a new optimizer.",
        )


@final
class StepCounter:
    """Counts the steps within an epoch from what the optimizer had done at its beginning.

    Keras makes the training wait for each batch where a callback reads a variable of it; counting does not.
    """

    def __init__(self) -> None:
        self._raw = 0
        self._accumulated = 1
        self._batches = 0

    def start(self, model: Any) -> int:
        """Note where an epoch starts; return the steps done."""
        self._accumulated = _accumulated(model)
        self._raw = _raw_steps(model)
        return self.after(0)

    def after(self, batches: int) -> int:
        """Return the steps done after a number of batches of this epoch, if each was a step."""
        self._batches = batches
        return (self._raw + batches) // self._accumulated

    def now(self, model: Any) -> int:
        """Return the steps done, from the optimizer, and count on from there.

        They differ from the batches where gradients were not finite and a step was left out, or where a `train_step`
        makes several.
        """
        synchronize(model)
        self._raw = _raw_steps(model) - self._batches
        return steps_done(model)


def synchronize(model: Any) -> None:
    """Bring the variables of a model up to date in the middle of an epoch: JAX keeps them in its own state."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _raw_steps(model: Any) -> int:
    optimizer = inner(model.optimizer)
    return int(to_numpy(internals.raw_iterations(optimizer).value)) if optimizer.built else 0


def _accumulated(model: Any) -> int:
    return inner(model.optimizer).gradient_accumulation_steps or 1
