"""How many steps an optimizer has done, without waiting for it at each batch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import keras

from phasecore.errors import InputError
from phasecore_keras import internals
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.internals import inner
from phasecore_keras.reading import others_than


def steps_done(model: Any) -> int:
    """Return the number of updates of the variables: by the optimizer of a model, and quasi-Newton steps of a PINN."""
    return _raw_steps(model) // _accumulated(model)


def steps_before(model: Any) -> int:
    """Return how many steps of a PINN's training its optimizer does not count, as they were made with earlier ones."""
    return int(vars(model).get("steps_before", 0))


def note_steps_before(model: Any, steps: int) -> None:
    """Note how many these were."""
    vars(model)["steps_before"] = steps


@contextlib.contextmanager
def counting_on(model: Any) -> Iterator[None]:
    """Have the steps of a training counted on where the model is compiled with another optimizer inside."""
    earlier = inner(model.optimizer) if getattr(model, "optimizer", None) is not None else None
    done = 0 if earlier is None else steps_done(model)
    yield
    if earlier is not None and model.optimizer is not None and inner(model.optimizer) is not earlier:
        note_steps_before(model, steps_before(model) + done - steps_done(model))


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


def compiled_step(model: Any, make: Callable[..., Any], force: bool) -> Any:
    """Have the step of a PINN compiled where it is not, or anew, and return what makes the steps of `fit`.

    JAX takes a method for what it has compiled under that name already, as long as anything holds that.

    Args:
        model: the PINN.
        make: Keras' own `make_train_function`.
        force: compile it anew.
    """
    if model.train_function is None or force:
        if keras.backend.backend() == "jax":
            vars(model)["train_step"] = functools.partial(type(model).train_step, model)
        try:
            make(force=True)
        finally:
            vars(model).pop("train_step", None)
        model.quasi_newton.compiled_anew()
    return model.train_function


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
    own = int(to_numpy(internals.raw_iterations(optimizer).value)) if optimizer.built else 0
    further = getattr(model, "quasi_newton", None)
    return own if further is None else own + further.steps * _accumulated(model)


def _accumulated(model: Any) -> int:
    return inner(model.optimizer).gradient_accumulation_steps or 1
