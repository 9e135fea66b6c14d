"""What Keras leaves to its backends: differentiating and compiling, for TensorFlow, JAX and torch alike."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import keras
import numpy as np

from phasecore.errors import InputError
from phasecore_keras.undisturbed import aside

Tensor = Any
"""A tensor of whichever backend Keras runs on."""

Function = Callable[..., Any]


class Autodiff(ABC):
    """The tools of one backend. Functions given to it take and return tensors (or dictionaries and lists of them)."""

    @abstractmethod
    def derivative(self, function: Function, axis: int) -> Function:
        """Return the derivative along one axis of a function of points, (n, dimension) to (n,), row by row.

        It can be differentiated again, with respect to points and variables.
        """

    @abstractmethod
    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        """Return the function compiled, where the backend compiles; it changes no variable.

        Args:
            function: what to compile.
            variables: every Keras variable that it may read.
        """

    @abstractmethod
    def gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the gradients of a scalar loss with respect to variables, compiled: a list of tensors.

        Args:
            loss: a function of tensors.
            variables: with respect to which the gradients are taken.
            others: further variables that the loss may read.
        """

    @abstractmethod
    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        """Evaluate a function and its gradient a single time, in the way that takes the least time to get there.

        Args:
            function: of tensors; returns a scalar, which is differentiated, and whatever else is wanted of it.
            variables: with respect to which the gradient is taken; may be none.
            others: further variables that the function may read.
            arguments: of the function.

        Returns:
            What else it returned, and the gradients, a list of tensors.
        """

    @abstractmethod
    def shapes(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns, as objects that have at least its shapes, in as little time as can be."""

    @abstractmethod
    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the same for many batches at once: each argument and each gradient has a leading axis of batches."""

    @abstractmethod
    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the squared norm of a scalar function's gradient for many examples at once, vectorized and compiled.

        Args:
            function: of one example, a scalar.
            variables: with respect to which the gradients are taken.
            others: further variables that the function may read.

        Returns:
            A function of examples, each argument with a leading axis of them: shape (examples,).
        """


@final
class _TensorFlow(Autodiff):
    def derivative(self, function: Function, axis: int) -> Function:
        import tensorflow as tf

        def gradient(points: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                tape.watch(points)
                total = tf.reduce_sum(function(points))
            return tape.gradient(total, points, unconnected_gradients="zero")[:, axis]

        return gradient

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        import tensorflow as tf

        def guarded(*arguments: Tensor) -> Any:
            with aside():
                return function(*arguments)

        # TensorFlow warns of functions of one code that it compiles often; a partial is one of its own each time
        return tf.function(functools.partial(guarded), autograph=False)  # type: ignore[no-any-return, unused-ignore]

    def gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        return self.compiled(self._gradient(loss, variables), ())

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        import tensorflow as tf

        with aside(), tf.GradientTape() as tape:
            value, rest = function(*arguments)
        found = tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero") if variables else []
        return rest, [tf.convert_to_tensor(gradient) for gradient in found]

    def shapes(self, function: Callable[[], Any]) -> Any:
        return function()

    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import tensorflow as tf

        gradient = self._gradient(loss, variables)

        def every(*arguments: Tensor) -> Any:
            return tf.map_fn(
                lambda batch: gradient(*batch),
                arguments,
                fn_output_signature=[tf.TensorSpec(tuple(v.shape), v.dtype) for v in variables],
            )

        return self.compiled(every, ())

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import tensorflow as tf

        gradient = self._gradient(function, variables)

        def every(*arguments: Tensor) -> Any:
            return tf.vectorized_map(lambda example: _square(gradient(*example)), arguments)

        return self.compiled(every, ())

    def _gradient(self, loss: Function, variables: Sequence[Any]) -> Function:
        import tensorflow as tf

        def gradient(*arguments: Tensor) -> Any:
            with aside(), tf.GradientTape() as tape:
                value = loss(*arguments)
            return tape.gradient(value, [v.value for v in variables], unconnected_gradients="zero")

        return gradient


@final
class _Jax(Autodiff):
    def derivative(self, function: Function, axis: int) -> Function:
        import jax

        def tangent(points: Tensor) -> Tensor:
            direction = jax.numpy.zeros_like(points).at[:, axis].set(1.0)
            return jax.jvp(function, (points,), (direction,))[1]

        return tangent

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        import jax

        variables = list(variables)

        @jax.jit
        def pure(values: list[Tensor], *arguments: Tensor) -> Any:
            with keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True):
                return function(*arguments)

        return lambda *arguments: pure([v.value for v in variables], *arguments)

    def gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import jax

        gradient = jax.grad(self._pure(loss, variables, others))
        return self._with_values(jax.jit(gradient), variables, others)

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        import jax

        # operation by operation, each would be compiled by itself; passes that make code fast do not pay here
        options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        pure = jax.jit(jax.grad(self._pure(function, variables, others), has_aux=True), compiler_options=options)
        gradients, rest = self._with_values(pure, variables, others)(*arguments)
        return rest, gradients

    def shapes(self, function: Callable[[], Any]) -> Any:
        import jax

        return jax.eval_shape(function)

    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import jax

        gradient = jax.grad(self._pure(loss, variables, others))

        @jax.jit
        def every(values: list[Tensor], rest: list[Tensor], *arguments: Tensor) -> Any:
            return jax.lax.map(lambda batch: gradient(values, rest, *batch), arguments)

        return self._with_values(every, variables, others)

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import jax

        gradient = jax.grad(self._pure(function, variables, others))

        @jax.jit
        def every(values: list[Tensor], rest: list[Tensor], *arguments: Tensor) -> Any:
            return jax.vmap(lambda *example: _square(gradient(values, rest, *example)))(*arguments)

        return self._with_values(every, variables, others)

    def _pure(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        every = [*variables, *others]

        def pure(values: list[Tensor], rest: list[Tensor], *arguments: Tensor) -> Tensor:
            mapping = list(zip(every, [*values, *rest], strict=True))
            with keras.StatelessScope(mapping, collect_losses=True):
                return loss(*arguments)

        return pure

    def _with_values(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        return lambda *arguments: function([v.value for v in variables], [v.value for v in others], *arguments)


@final
class _Torch(Autodiff):
    def derivative(self, function: Function, axis: int) -> Function:
        import torch

        def gradient(points: Tensor) -> Tensor:
            with torch.enable_grad():
                points = points if points.requires_grad else points.detach().requires_grad_()
                value = function(points)
                if not value.requires_grad:
                    return torch.zeros_like(points[:, axis])
                (found,) = torch.autograd.grad(value.sum(), points, create_graph=True, allow_unused=True)
            return torch.zeros_like(points[:, axis]) if found is None else found[:, axis]

        return gradient

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        import torch

        def guarded(*arguments: Tensor) -> Any:
            with aside(), torch.no_grad():
                return function(*arguments)

        return guarded

    def gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        return lambda *arguments: self.once(lambda *given: (loss(*given), None), variables, others, *arguments)[1]

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        import torch

        with aside(), torch.enable_grad():
            value, rest = function(*arguments)
            parameters = [v.value for v in variables]
            if not parameters or not value.requires_grad:
                return rest, [torch.zeros_like(p) for p in parameters]
            return rest, list(torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True))

    def shapes(self, function: Callable[[], Any]) -> Any:
        import torch

        with torch.no_grad():
            return function()

    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        import torch

        def pure(values: list[Tensor], *arguments: Tensor) -> Tensor:
            with keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True):
                return loss(*arguments)

        gradient = torch.func.grad(pure)

        def every(*arguments: Tensor) -> list[Tensor]:
            values = [v.value.detach() for v in variables]
            in_axes = (None, *(0 for _ in arguments))
            with aside():
                return list(torch.func.vmap(gradient, in_dims=in_axes)(values, *arguments))

        return every

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        gradients = self.batch_gradients(function, variables, others)

        def every(*arguments: Tensor) -> Tensor:
            return sum(keras.ops.sum(keras.ops.square(g).reshape(len(g), -1), axis=1) for g in gradients(*arguments))

        return every


def _square(gradients: Sequence[Tensor]) -> Tensor:
    return sum(keras.ops.sum(keras.ops.square(gradient)) for gradient in gradients)


_BACKENDS: dict[str, type[Autodiff]] = {"tensorflow": _TensorFlow, "jax": _Jax, "torch": _Torch}


@functools.cache
def autodiff() -> Autodiff:
    """Return the tools of the backend that Keras runs on.

    Raises:
        InputError: for a backend that cannot train.

    Example:
        >>> square = autodiff().derivative(lambda points: points[:, 0] * points[:, 0], axis=0)
        >>> float(square(keras.ops.convert_to_tensor([[3.0]]))[0])
        6.0
    """
    name = keras.backend.backend()
    if name not in _BACKENDS:
        raise InputError(
            "Keras backend",
            received=repr(name),
            expected=f"one that can differentiate: {', '.join(_BACKENDS)}",
            fix="Set the environment variable KERAS_BACKEND before the first import of keras.",
        )
    return _BACKENDS[name]()


def to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's values as numpy has them, short floats as float32.

    Example:
        >>> to_numpy(keras.ops.zeros((2,))).dtype
        dtype('float32')
    """
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if dtype in ("float16", "bfloat16"):
        tensor = keras.ops.cast(tensor, "float32")
    if keras.backend.backend() == "torch":
        return tensor.detach().cpu().numpy()  # type: ignore[no-any-return]
    return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
