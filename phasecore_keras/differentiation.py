"""What Keras leaves to its backends: differentiating and compiling, as TensorFlow, JAX and torch are to offer it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import keras

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
            variables: the Keras variables that it is known to read; further ones are found.
        """

    @abstractmethod
    def value_and_gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        """Return a scalar loss with its gradients with respect to variables, compiled: a tensor, and a list of tensors.

        Args:
            loss: a function of tensors.
            variables: with respect to which the gradients are taken.
            others: further variables that the loss is known to read.
            once: whether they will be asked for a single time, for which compiling may not be worth its time.
        """

    def gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        """Return the gradients alone."""
        both = self.value_and_gradients(loss, variables, others, once=once)
        return lambda *arguments: both(*arguments)[1]

    @abstractmethod
    def depends(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Callable[..., bool]:
        """Return a function of the loss' arguments: whether a gradient leads from there to any of the variables."""

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
        """Return the gradients of many batches at once: arguments and gradients have a leading axis of batches."""

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


def sum_of_squares(gradients: Sequence[Tensor]) -> Tensor:
    """Return the squared norm of gradients, a scalar."""
    return sum(keras.ops.sum(keras.ops.square(gradient)) for gradient in gradients)


def variable_dtype(model: Any) -> str:
    """Return the dtype in which a model wants its points: that of its variables.

    Example:
        >>> variable_dtype(keras.layers.Dense(1, dtype="float64"))
        'float64'
    """
    return str(model.variable_dtype) if isinstance(model, keras.layers.Layer) else keras.config.floatx()
