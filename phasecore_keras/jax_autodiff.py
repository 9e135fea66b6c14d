"""Differentiating and compiling with JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from phasecore_keras.closed import Closed
from phasecore_keras.differentiation import Autodiff, Function, Tensor, sum_of_squares


@final
class JaxAutodiff(Autodiff):
    """The tools of JAX; what it compiles is handed the values of all variables."""

    def derivative(self, function: Function, axis: int) -> Function:
        """Return the derivative along one axis of a function of points."""
        import jax

        def tangent(points: Tensor) -> Tensor:
            direction = jax.numpy.zeros_like(points).at[:, axis].set(1.0)
            return jax.jvp(function, (points,), (direction,))[1]

        return tangent

    def compiled(self, function: Function, variables: Sequence[Any]) -> Function:
        """Return the function compiled."""
        return Closed(function, variables, compile=True)

    def value_and_gradients(
        self, loss: Function, variables: Sequence[Any], others: Sequence[Any], *, once: bool = False
    ) -> Function:
        """Return a scalar loss with its gradients."""
        import jax

        return Closed(loss, variables, others, transform=jax.value_and_grad, compile=not once)

    def depends(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Callable[..., bool]:
        """Return whether a gradient leads from a loss to any of the variables."""
        import jax

        reached: list[bool] = []

        @jax.custom_jvp
        def watched(value: Tensor) -> Tensor:
            return value

        def tangent(primals: Any, tangents: Any) -> Any:
            reached.append(not isinstance(tangents[0], jax.custom_derivatives.SymbolicZero))
            return primals[0], tangents[0]

        watched.defjvp(tangent, symbolic_zeros=True)

        def shaped(function: Function) -> Function:
            gradient = jax.grad(function)
            return lambda *arguments: jax.eval_shape(gradient, *arguments)

        def depends(*arguments: Tensor) -> bool:
            reached.clear()
            Closed(lambda *given: watched(loss(*given)), variables, others, transform=shaped)(*arguments)
            return any(reached)

        return depends

    def once(self, function: Function, variables: Sequence[Any], others: Sequence[Any], *arguments: Tensor) -> Any:
        """Evaluate a function and its gradient a single time."""
        import jax

        # operation by operation, each would be compiled by itself; passes that make code fast do not pay here
        options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

        def gradient(pure: Function) -> Function:
            return jax.jit(jax.grad(pure, has_aux=True), compiler_options=options)  # type: ignore[no-any-return, unused-ignore]

        gradients, rest = Closed(function, variables, others, transform=gradient, compile=False)(*arguments)
        return rest, gradients

    def shapes(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns, as shapes alone."""
        import jax

        return jax.eval_shape(function)

    def batch_gradients(self, loss: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the gradients of many batches at once."""
        import jax

        def every(function: Function) -> Function:
            gradient = jax.grad(function)
            return lambda values, rest, *arguments: jax.lax.map(lambda batch: gradient(values, rest, *batch), arguments)

        return Closed(loss, variables, others, transform=every, compile=True)

    def squared_gradients(self, function: Function, variables: Sequence[Any], others: Sequence[Any]) -> Function:
        """Return the squared gradient norms of many examples at once."""
        import jax

        def every(function: Function) -> Function:
            gradient = jax.grad(function)
            return lambda values, rest, *arguments: jax.vmap(
                lambda *example: sum_of_squares(gradient(values, rest, *example))
            )(*arguments)

        return Closed(function, variables, others, transform=every, compile=True)
