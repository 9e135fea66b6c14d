"""Differentiating and compiling with whichever backend Keras runs on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import keras
import numpy as np

from phasecore.errors import InputError
from phasecore_keras.differentiation import Autodiff, Function, Tensor, sum_of_squares
from phasecore_keras.layer_normalization import differentiable
from phasecore_keras.scopes import OwnValues
from phasecore_keras.undisturbed import undisturbed


class _WritesError(Exception):
    """A function writes into variables of TensorFlow's own, which no scope of Keras holds back."""


@final
class _TensorFlow(Autodiff):
    def derivative(self, function: Function, axis: int) -> Function:
        import tensorflow as tf

        def gradient(points: Tensor) -> Tensor:
            with tf.GradientTape() as tape:
                tape.watch(points)
                with differentiable():
                    total = tf.reduce_sum(function(points))
            return tape.gradient(total, points, unconnected_gradients="zero")[:, axis]

        return gradient

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        import tensorflow as tf

        writes: list[bool] = []

        def guarded(*arguments: Tensor) -> Any:
            with undisturbed():
                result = function(*arguments)
            if not writes and _writes(tf.compat.v1.get_default_graph()):
                writes.append(True)
                raise _WritesError
            return result

        # TensorFlow warns of functions of one code that it compiles often; a partial is one of its own each time
        compiled = tf.function(functools.partial(guarded), autograph=False)

        def evaluated(*arguments: Tensor) -> Any:
            if not writes:
                with contextlib.suppress(_WritesError):
                    return compiled(*arguments)
            variables = compiled.get_concrete_function(*arguments).variables
            before = [tf.identity(variable) for variable in variables]
            result = compiled(*arguments)
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            return result

        return evaluated

    def value_and_gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        both = self._value_and_gradient(loss, variables, "zero")
        return both if once else self.compiled(both, ())

    def depends(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Callable[..., bool]:
        both = self._value_and_gradient(loss, variables, "none")
        return lambda *arguments: any(gradient is not None for gradient in both(*arguments)[1])

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        import tensorflow as tf

        with undisturbed(), tf.GradientTape() as tape:
            value, rest = function(*arguments)
        found = tape.gradient(value, _watched(variables), unconnected_gradients="zero") if variables else []
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
            return tf.vectorized_map(lambda example: sum_of_squares(gradient(*example)), arguments)

        return self.compiled(every, ())

    def _gradient(self, loss: Function, variables: Sequence[Any]) -> Function:
        both = self._value_and_gradient(loss, variables, "zero")
        return lambda *arguments: both(*arguments)[1]

    def _value_and_gradient(self, loss: Function, variables: Sequence[Any], unconnected: str) -> Function:
        import tensorflow as tf

        def both(*arguments: Tensor) -> Any:
            with undisturbed(), tf.GradientTape() as tape:
                value = loss(*arguments)
            return value, tape.gradient(value, _watched(variables), unconnected_gradients=unconnected)

        return both


@final
class _Torch(Autodiff):
    def derivative(self, function: Function, axis: int) -> Function:
        import torch

        def gradient(points: Tensor) -> Tensor:
            with torch.enable_grad():
                points = points if points.requires_grad else points.detach().requires_grad_()
                with differentiable():
                    value = function(points)
                if not value.requires_grad:
                    return torch.zeros_like(points[:, axis])
                (found,) = torch.autograd.grad(value.sum(), points, create_graph=True, allow_unused=True)
            return torch.zeros_like(points[:, axis]) if found is None else found[:, axis]

        return gradient

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        import torch

        def guarded(*arguments: Tensor) -> Any:
            with undisturbed(), torch.no_grad():
                return function(*arguments)

        return guarded

    def value_and_gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        return lambda *arguments: self._value_and_gradient(loss, variables, arguments, materialize=True)

    def depends(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Callable[..., bool]:
        def depends(*arguments: Tensor) -> bool:
            _, gradients = self._value_and_gradient(loss, variables, arguments, materialize=False)
            return any(gradient is not None for gradient in gradients)

        return depends

    def _value_and_gradient(
        self, loss: Function, variables: Sequence[Any], arguments: Sequence[Tensor], *, materialize: bool
    ) -> tuple[Tensor, list[Tensor]]:
        import torch

        with undisturbed():
            value = loss(*arguments)
            parameters = [v.value for v in variables]
            if not value.requires_grad:
                return value, [torch.zeros_like(p) if materialize else None for p in parameters]
            gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=materialize)
        return value.detach(), list(gradients)

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        import torch

        with undisturbed(), torch.enable_grad():
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
            with OwnValues(zip(variables, values, strict=True)):
                return loss(*arguments)

        gradient = torch.func.grad(pure)

        def every(*arguments: Tensor) -> list[Tensor]:
            values = [v.value.detach() for v in variables]
            in_axes = (None, *(0 for _ in arguments))
            with undisturbed():
                return list(torch.func.vmap(gradient, in_dims=in_axes)(values, *arguments))

        return every

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        gradients = self.batch_gradients(function, variables, others)

        def every(*arguments: Tensor) -> Tensor:
            return sum(g.square().unsqueeze(-1).flatten(1).sum(1) for g in gradients(*arguments))

        return every


def _watched(variables: Sequence[Any]) -> list[Any]:
    """What a tape of TensorFlow's knows variables as: within the scope of a strategy, the first replica's."""
    import tensorflow as tf

    values = [variable.value for variable in variables]
    if tf.distribute.in_cross_replica_context():
        values = [tf.distribute.get_strategy().experimental_local_results(value)[0] for value in values]
    return values


def _writes(graph: Any) -> bool:
    """Whether a graph of TensorFlow's writes into variables."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return any(node.op.startswith(("Assign", "Resource", "Rng", "Stateful")) for node in nodes)


def _of_jax() -> Autodiff:
    from phasecore_keras.jax_autodiff import JaxAutodiff

    return JaxAutodiff()


_BACKENDS: dict[str, Callable[[], Autodiff]] = {"tensorflow": _TensorFlow, "jax": _of_jax, "torch": _Torch}


@functools.cache
def autodiff() -> Autodiff:
    """Return the tools of the backend that Keras runs on.

    Raises:
        InputError: for a backend that cannot train.

    Example:
        >>> square = autodiff().derivative(lambda points: points[:, 0] * points[:, 0], axis=0)
        >>> float(to_numpy(square(keras.ops.convert_to_tensor([[3.0]])))[0])
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


def as_real(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array as it is, a complex one with real and imaginary parts on another axis.

    Example:
        >>> as_real(np.asarray([1 + 2j])).tolist()
        [[1.0, 2.0]]
    """
    values = np.asarray(values)
    return np.stack([values.real, values.imag], axis=-1) if np.iscomplexobj(values) else values
