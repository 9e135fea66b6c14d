"""Evaluating a DeepXDE model on its backends tensorflow and jax: errors, losses, and gradients of batches."""

from __future__ import annotations

import inspect
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.monitoring.deepxde.evaluation import Evaluation, Evaluator
from phasecore.monitoring.deepxde.terms import TermReader, reading
from phasecore.signals import AdamMoments, Moments
from phasecore_keras.moments import MomentAccumulator

Tensor = Any
Arrays = NDArray[Any]
Rows = NDArray[np.int64]
GRADIENT_ENTRIES = 2**24
"""Most numbers that the gradients of batches computed at once may hold."""

Select = Callable[[TermReader, Tensor], Any]
"""From a reader, which has the errors of the terms, and their losses to what is wanted of them."""


class CompiledEvaluator(Evaluator):
    """Evaluates a model with functions that are compiled beside its own, from the same Python.

    Args:
        model: a compiled `deepxde.Model` whose network has its parameters.
        solved: the class `deepxde.data.PDE`.

    Raises:
        InputError: for data whose loss is not a sum over points of equations and conditions.
    """

    def __init__(self, model: Any, solved: type[Any]) -> None:
        super().__init__(model, solved)
        self._evaluate = self.compiled(lambda reader, losses: (reader.errors, losses))
        self._of_equations: Callable[..., Any] | None = None
        self._of_rest: Callable[..., Any] | None = None
        self._of_terms: Callable[..., Any] | None = None

    @abstractmethod
    def compiled(self, select: Select) -> Callable[..., Any]:
        """Return a compiled function of points, targets and auxiliary variables."""

    @abstractmethod
    def gradients(self, select: Select) -> Callable[..., list[list[Tensor]]]:
        """Return a compiled function of the same: gradients with respect to each parameter, of each scalar selected.

        Args:
            select: returns a list of scalars.
        """

    @abstractmethod
    def batch_gradients(self, select: Select) -> Callable[..., list[Tensor]]:
        """Return a compiled function of the same for many batches of points at once, the conditions left out.

        Its arguments and the gradients, one for each parameter, have a leading axis of batches.

        Args:
            select: returns a scalar.
        """

    @abstractmethod
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each trainable parameter of the network by name, in the network's order."""

    def evaluate(self, *, weighted: bool = True) -> Evaluation:
        """Return the errors and losses of every term."""
        errors, losses = self._evaluate(*self.arrays(weighted=weighted))
        return Evaluation([np.asarray(error) for error in errors], np.asarray(losses))

    def moments(self, batches: Sequence[Rows], equations: int, *, biases: bool) -> list[Moments]:
        """Return the moments over the batches, the deviations taken of the equations' part of the loss alone."""
        chosen = self._chosen(biases)
        if self._of_equations is None or self._of_rest is None:
            self._of_equations = self.batch_gradients(lambda reader, losses: _sum(losses, 0, equations))
            self._of_rest = self.gradients(lambda reader, losses: [_sum(losses, equations, int(losses.shape[0]))])
        accumulator = MomentAccumulator()
        at_once = max(1, GRADIENT_ENTRIES // sum(math.prod(shape) for shape in self.parameters().values()))
        for size in sorted({len(batch) for batch in batches}):
            group = [batch for batch in batches if len(batch) == size]
            for first in range(0, len(group), at_once):
                own = self._of_equations(*self.arrays(np.stack(group[first : first + at_once])))
                accumulator.add([np.asarray(own[place]) for place in chosen])
        (shared,) = self._of_rest(*self.arrays())
        return accumulator.result(shift=[np.asarray(shared[place]) for place in chosen])

    def term_gradients(self, table: Arrays | None = None) -> list[dict[str, Arrays]]:
        """Return the gradient of each term's mean squared error, by parameter."""
        from deepxde import backend

        if self._of_terms is None:
            self._of_terms = self.gradients(
                lambda reader, losses: [backend.reduce_mean(backend.square(error)) for error in reader.weighted]
            )
        found = self._of_terms(*self.arrays(weighted=False, table=table))
        return [dict(zip(self.parameters(), map(np.asarray, own), strict=True)) for own in found]

    def _chosen(self, biases: bool) -> list[int]:
        chosen = [place for place, shape in enumerate(self.parameters().values()) if biases or len(shape) >= 2]
        if not chosen:
            raise InputError(
                "gradient statistics",
                received="no trainable weight matrix",
                expected="a network with trainable parameters of two axes or more",
                fix="Pass biases=True to count all parameters.",
            )
        return chosen


@final
class TensorFlowEvaluator(CompiledEvaluator):
    """The evaluator of DeepXDE's backend tensorflow."""

    def compiled(self, select: Select) -> Callable[..., Any]:
        """Return a compiled function of points, targets and auxiliary variables."""
        import tensorflow as tf

        from phasecore_keras.undisturbed import undisturbed

        def function(*arrays: Tensor) -> Any:
            with undisturbed():
                return self._select(select, False, arrays)

        return tf.function(function)  # type: ignore[no-any-return, unused-ignore]

    def gradients(self, select: Select) -> Callable[..., list[list[Tensor]]]:
        """Return a compiled function of the same: gradients with respect to each parameter, of each scalar selected."""
        import tensorflow as tf

        from phasecore_keras.undisturbed import undisturbed

        def function(*arrays: Tensor) -> Any:
            with tf.GradientTape(persistent=True) as tape, undisturbed():
                scalars = self._select(select, False, arrays)
            return [self._gradient(tape, scalar) for scalar in scalars]

        return tf.function(function)  # type: ignore[no-any-return, unused-ignore]

    def batch_gradients(self, select: Select) -> Callable[..., list[Tensor]]:
        """Return a compiled function of the same for many batches of points at once, the conditions left out."""
        import tensorflow as tf

        from phasecore_keras.undisturbed import undisturbed

        def function(*arrays: Tensor) -> Any:
            def of_batch(given: Sequence[Tensor]) -> Any:
                parts = iter(given)
                with tf.GradientTape() as tape, undisturbed():
                    scalar = self._select(select, True, [None if item is None else next(parts) for item in arrays])
                return self._gradient(tape, scalar)

            return tf.vectorized_map(of_batch, [item for item in arrays if item is not None])

        return tf.function(function)  # type: ignore[no-any-return, unused-ignore]

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each trainable parameter of the network by name, in the network's order."""
        return {variable.path: tuple(variable.shape) for variable in self.model.net.trainable_variables}

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the optimizer that `compile` was given as an object, where that is a number."""
        from phasecore_keras.optimizers import learning_rates

        optimizer = self.model.opt_name
        is_object = hasattr(optimizer, "get_config")
        if not is_object or not isinstance(optimizer.get_config().get("learning_rate"), float | int):
            return None
        return learning_rates(optimizer).get("learning_rate")

    def set_learning_rate(self, rate: float) -> None:
        """Set it."""
        self.model.opt_name.learning_rate = rate

    @property
    def keeps_adam(self) -> bool:
        """Whether the model was compiled with an optimizer object of Adam's family: DeepXDE keeps no other."""
        from phasecore_keras.optimizers import keeps_adam

        return keeps_adam(self.model.opt_name)

    @property
    def keeps_learning_rates(self) -> bool:
        """Whether the optimizer is an object of Adam or Nadam."""
        from phasecore_keras.optimizers import keeps_learning_rates

        return keeps_learning_rates(self.model.opt_name)

    def adam_moments(self) -> dict[str, AdamMoments]:
        """Return Adam's bias-corrected moments of each parameter by name, in order; none before the first step."""
        from phasecore_keras.optimizers import adam_moments

        return self._read(adam_moments)

    def adam_learning_rates(self) -> dict[str, Arrays]:
        """Return Adam's effective learning rates, `lr / (sqrt(v) + epsilon)`, likewise."""
        from phasecore_keras.optimizers import adam_learning_rates

        return self._read(adam_learning_rates)

    def _read(self, read: Callable[[Any, Any], Any]) -> dict[str, Any]:
        """What there is to read of each variable."""
        found = {variable.path: read(self.model.opt_name, variable) for variable in self.model.net.trainable_variables}
        return {name: own for name, own in found.items() if own is not None}

    def _gradient(self, tape: Any, scalar: Tensor) -> list[Tensor]:
        values = [variable.value for variable in self.model.net.trainable_variables]
        return tape.gradient(scalar, values, unconnected_gradients="zero")  # type: ignore[no-any-return]

    def _select(self, select: Select, equations_only: bool, arrays: Sequence[Tensor]) -> Any:
        model = self.model
        reader = TermReader(model.data, equations_only=equations_only)
        variables = model.net.auxiliary_vars
        with reading(model, reader):
            losses = model.outputs_losses_train.python_function(*arrays)[1]
        model.net.auxiliary_vars = variables
        return select(reader, losses)


@final
class JaxEvaluator(CompiledEvaluator):
    """The evaluator of DeepXDE's backend jax."""

    def compiled(self, select: Select) -> Callable[..., Any]:
        """Return a compiled function of points, targets and auxiliary variables."""
        import jax

        function = jax.jit(lambda parameters, *arrays: self._select(select, False, parameters, arrays))
        return lambda points, targets, variables: function(self.model.params, points, targets)

    def gradients(self, select: Select) -> Callable[..., list[list[Tensor]]]:
        """Return a compiled function of the same: gradients with respect to each parameter, of each scalar selected."""
        import jax

        @jax.jit
        def function(parameters: Any, *arrays: Tensor) -> Any:
            own, external = parameters
            trees = jax.jacrev(lambda own: self._select(select, False, [own, external], arrays))(own)
            return [list(_leaves(tree).values()) for tree in trees]

        return lambda points, targets, variables: function(self.model.params, points, targets)

    def batch_gradients(self, select: Select) -> Callable[..., list[Tensor]]:
        """Return a compiled function of the same for many batches of points at once, the conditions left out."""
        import jax

        @jax.jit
        def function(parameters: Any, *arrays: Tensor) -> Any:
            own, external = parameters

            def of_batch(arrays: Sequence[Tensor]) -> Any:
                return jax.grad(lambda own: self._select(select, True, [own, external], arrays))(own)

            return list(_leaves(jax.vmap(of_batch)(arrays)).values())

        return lambda points, targets, variables: function(self.model.params, points, targets)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each trainable parameter of the network by name, in the network's order."""
        return {name: leaf.shape for name, leaf in _leaves(self.model.params[0]).items()}

    @property
    def keeps_adam(self) -> bool:
        """Whether DeepXDE made the optimizer from the name "adam": the decay rates of another are not known."""
        return isinstance(self.model.opt_name, str) and self.model.opt_name == "adam"

    def adam_moments(self) -> dict[str, AdamMoments]:
        """Return Adam's bias-corrected moments of each parameter by name, in order; none before the first step."""
        import jax
        import optax  # type: ignore[import-not-found, import-untyped, unused-ignore]

        decays = inspect.signature(optax.adam).parameters
        states = jax.tree.leaves(self.model.opt_state, is_leaf=lambda item: hasattr(item, "nu"))
        state = next(item for item in states if hasattr(item, "nu"))
        step = int(state.count)
        if not step:
            return {}
        first, second = (_leaves(tree[0]) for tree in (state.mu, state.nu))
        corrections = [1 - decays[name].default ** step for name in ("b1", "b2")]
        return {
            name: AdamMoments(np.asarray(first[name]) / corrections[0], np.asarray(second[name]) / corrections[1])
            for name in first
        }

    def _select(self, select: Select, equations_only: bool, parameters: Any, arrays: Sequence[Tensor]) -> Any:
        reader = TermReader(self.model.data, equations_only=equations_only)
        with reading(self.model, reader):
            losses = self.model.outputs_losses_train.__wrapped__(parameters, *arrays)[1]
        return select(reader, losses)


def _sum(losses: Tensor, start: int, stop: int) -> Tensor:
    return sum((losses[place] for place in range(start, stop)), 0.0 * losses[0])


def _leaves(tree: Any) -> dict[str, Tensor]:
    """The arrays of a tree by their paths; layer 10 comes after layer 9."""
    import jax

    named = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return {name: named[name] for name in sorted(named, key=_by_number)}


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
