"""Quasi-Newton steps of a PINN, on all of its points: in `phasecore run`, and in the place of the steps of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
from keras import ops

from phasecore.probes import Probe
from phasecore.signals import ADAM_LEARNING_RATES, ADAM_MOMENTS
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.internals import note_synchronized
from phasecore_keras.quasi_newton import LBFGS
from phasecore_keras.reading import others_than
from phasecore_keras.scaling import gradients_through
from phasecore_keras.steps import steps_before, steps_done, synchronize
from phasecore_keras.updates import WeightUpdates

OF_ADAM = frozenset({ADAM_MOMENTS, ADAM_LEARNING_RATES})

STORED = "quasi_newton_"
"""Beginning of the names under which a saved PINN has these steps."""

FIXED = "is_fixed"
"""Name under which it is kept whether the loss is the one that the last line search ended with."""

Failed = Callable[[int, str], None]
"""Hears in which iteration L-BFGS failed, and why."""


def without_adam(due: Sequence[Probe]) -> list[Probe]:
    """Return those of some probes that read nothing of Adam's.

    Example:
        >>> from phasecore import registry
        >>> [probe.name for probe in without_adam([registry.as_probe("adam_snr"), registry.as_probe("gradient_snr")])]
        ['gradient_snr']
    """
    return [probe for probe in due if probe.requires.isdisjoint(OF_ADAM)]


@final
class QuasiNewtonSteps:
    """Makes steps of a PINN by L-BFGS, each on all of its points with all of its weights.

    Within a `fit` they take the place of the function that Keras compiles, and are called as it is.

    Args:
        model: the PINN.
        updates: of its weights.

    Attributes:
        steps: how many were made.
        lbfgs: what makes them; None as long as there were none.
        in_charge: whether `fit` has its steps made by them.
    """

    def __init__(self, model: Any, updates: WeightUpdates) -> None:
        self._model = model
        self._updates = updates
        self.steps = 0
        self.lbfgs: LBFGS | None = None
        self.in_charge = False
        self._trained: list[Any] = []
        self._saved: Mapping[str, Any] = {}
        self._compiled: tuple[int, Any, Any] = (-1, None, None)
        self._seen: tuple[Any, Any, int | None] = (None, None, None)
        self._of_keras: Any = None
        self._failed: Failed = lambda iteration, reason: None

    @property
    def evaluations(self) -> int | None:
        """Evaluations of the loss and its gradient, of steps that failed too; None before the first step."""
        return None if self.lbfgs is None else self.lbfgs.evaluations

    def prepare(self) -> LBFGS:
        """Return what makes the steps, made for the variables that are trained now."""
        trained = list(self._model.trainable_variables)
        if self.lbfgs is None or len(trained) != len(self._trained) or others_than(trained, self._trained):
            evaluations = self.evaluations or 0
            self._trained = trained
            self.lbfgs = LBFGS(trained, self._evaluate, is_fixed=self._is_fixed)
            self.lbfgs.evaluations = evaluations
            if self._saved:
                self.lbfgs.load_state_dict(self._saved)
                # what is loaded has the network read anew, as it is
                fixed = bool(self._saved.get(FIXED, True))
                self._saved, self._seen = {}, (*self._seen_now()[:2], None) if fixed else (None, None, None)
        return self.lbfgs

    def step(self, iteration: int) -> float | None:
        """Make one step, and return the loss before it; None where it failed, and the variables stay.

        Args:
            iteration: steps of the training so far, whoever made them.
        """
        lbfgs = self.prepare()
        synchronize(self._model)
        self._updates.refresh()
        self._updates.in_place_of_a_step(iteration)
        value = lbfgs.step()
        self._seen = self._seen_now()
        if lbfgs.failure is not None:
            return None
        self.steps += 1
        return value

    def state_dict(self) -> dict[str, Any]:
        """Return what L-BFGS goes on from, as arrays by name; nothing where there is none."""
        if self.lbfgs is None:
            return dict(self._saved)
        return {**self.lbfgs.state_dict(), FIXED: np.asarray(self._is_fixed())}

    def load_state_dict(self, state: Mapping[str, Any], steps: int) -> None:
        """Go on from `state_dict()` after so many steps."""
        self.lbfgs, self._saved, self.steps = None, dict(state), steps
        if state:
            self.prepare()

    def store(self, store: Any) -> None:
        """Save them with a model; nothing where there were none."""
        if self.steps or self.lbfgs is not None:
            store[f"{STORED}steps"] = np.asarray(self.steps)
            for name, array in self.state_dict().items():
                store[f"{STORED}of_{name}"] = array

    def take_stored(self, store: Any) -> None:
        """Go on from what `store` saved."""
        prefix = f"{STORED}of_"
        names = [name for name in store.keys() if name.startswith(prefix)]  # noqa: SIM118
        saved = {name.removeprefix(prefix): np.asarray(store[name]) for name in names}
        steps = f"{STORED}steps"
        self.load_state_dict(saved, int(np.asarray(store[steps])) if steps in store else 0)

    def take_over(self, failed: Failed) -> None:
        """Make the steps of `fit`, from the next one on.

        Args:
            failed: hears of a failure, in whose iteration Keras' optimizer makes the step, and those that follow.
        """
        self.prepare()
        self._failed = failed
        if not self.in_charge:
            self.in_charge = True
            self._of_keras, self._model.train_function = self._model.train_function, self

    def give_back(self) -> None:
        """Let Keras' optimizer make the steps of `fit` again."""
        if self.in_charge:
            self.in_charge = False
            self._model.train_function, self._of_keras = self._of_keras, None

    def compiled_anew(self) -> None:
        """Hear that Keras has compiled another function, and go on in the place of that."""
        if self.in_charge and self._model.train_function is not self:
            self._of_keras, self._model.train_function = self._model.train_function, self

    def __call__(self, *arguments: Any) -> Any:
        """Make the steps of one execution of `fit`, and return its logs, on JAX with the state of all variables.

        Args:
            arguments: on JAX that state, and an iterator of batches; on TensorFlow the iterator, on torch one batch.
        """
        model, data = self._model, arguments[-1]
        is_jax, is_torch = (keras.backend.backend() == name for name in ("jax", "torch"))
        if is_jax:
            self._put(arguments[0])
        for place in range(model.steps_per_execution):
            try:
                batch = data if is_torch else next(data)
            except StopIteration:
                if not place:
                    raise
                break
            losses = self._term_losses()
            iteration = steps_done(model)
            value = self.step(steps_before(model) + iteration)
            if value is None:
                assert self.lbfgs is not None
                of_keras, reason = self._of_keras, str(self.lbfgs.failure)
                self.give_back()
                self._failed(iteration + 1, f"L-BFGS failed: {reason}")
                if not is_jax:
                    return of_keras(batch if is_torch else _iterator(batch))
                logs, state = of_keras(self._state(), _iterator(batch))
                self._put(state)
                return logs, state
            count = len(model.physics.points)
            for metric in model.metrics:
                if metric.name == "loss":
                    metric.update_state(value, sample_weight=count)
            for metric, loss in zip(model.term_losses, losses.values(), strict=True):
                metric.update_state(loss, sample_weight=count)
        logs = model.get_metrics_result()
        return (logs, self._state()) if is_jax else logs

    def _groups(self) -> tuple[list[Any], ...]:
        """The variables of a training, as JAX' state has them."""
        model = self._model
        own = model.trainable_variables, model.non_trainable_variables
        return (*own, model.optimizer.variables, model.metrics_variables)

    def _put(self, state: Sequence[Sequence[Any]]) -> None:
        """Give the variables the values that JAX keeps in its own state."""
        for variables, values in zip(self._groups(), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        note_synchronized(self._model)

    def _state(self) -> tuple[list[Any], ...]:
        return tuple([variable.value for variable in variables] for variables in self._groups())

    def _seen_now(self) -> tuple[Any, Any, int]:
        """What the loss is a function of, beside the variables that are trained."""
        physics = self._model.physics
        return physics.collocation, physics.weighting, physics.version

    def _is_fixed(self) -> bool:
        """Whether the loss is the same function of the trained variables as in the last step."""
        points, weighting, version = self._seen_now()
        same = points is self._seen[0] and weighting is self._seen[1] and self._seen[2] in (version, None)
        return same and not weighting.moves

    def _evaluate(self) -> tuple[float, list[Any]]:
        value, gradients = self._functions()[1](ops.convert_to_tensor(self._model.physics.points))
        return float(to_numpy(value)), [to_numpy(gradient) for gradient in gradients]

    def _term_losses(self) -> Mapping[str, Any]:
        losses: Mapping[str, Any] = self._functions()[2](ops.convert_to_tensor(self._model.physics.points))
        return losses

    def _functions(self) -> tuple[int, Any, Any]:
        """The loss with its gradients, and the losses of the terms, compiled for what the physics are now."""
        physics = self._model.physics
        if self._compiled[0] != physics.version:

            def loss(points: Any) -> Any:
                return sum(physics.evaluate(points).weighted.values(), physics.penalty())

            others = others_than(physics.variables, self._trained)
            both = gradients_through(physics.model).value_and_gradients(loss, self._trained, others)
            losses = autodiff().compiled(lambda points: physics.evaluate(points).unweighted, physics.variables)
            self._compiled = physics.version, both, losses
        return self._compiled


def _iterator(batch: Any) -> Any:
    """An iterator of one batch, as the compiled step takes it."""
    if keras.backend.backend() != "tensorflow":
        return iter([batch])
    import tensorflow as tf

    return iter(tf.data.Dataset.from_tensors(batch))
