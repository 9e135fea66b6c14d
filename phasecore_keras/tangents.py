"""Gradients of residuals with respect to the trainable variables, term by term: what some weighting schemes balance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore_keras.autodiff import to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.namespace import namespace
from phasecore_keras.reading import named_variables, others_than
from phasecore_keras.scaling import gradients_through

if TYPE_CHECKING:
    from phasecore_keras.loss import PhysicsLoss

BLOCK = 16_384
"""Most points at which residuals are evaluated at once."""

GRADIENT_ENTRIES = 2**24
"""Most numbers that the gradients of single points computed at once may hold."""

EXAMPLES = 2048
"""Most points that are differentiated one by one at once."""

Factors = Mapping[str, Tensor]
UNWEIGHTED: Factors = MappingProxyType({})


@final
class Tangents:
    """Differentiates the residuals of a loss at all its points; what is asked for is compiled once.

    Args:
        physics: the loss, with its points.

    Attributes:
        points: at which it differentiates; as many others may take their place.
    """

    def __init__(self, physics: PhysicsLoss) -> None:
        assert physics.points is not None
        self._physics = physics
        self.points = physics.points
        self._variables = named_variables(physics.trainable_variables)
        self._others = others_than(physics.variables, self._variables.values())
        self._tools = gradients_through(physics.model)
        self._compiled: dict[tuple[str, str], Callable[..., Any]] = {}

    def term_gradients(
        self, equations: Sequence[str], conditions: Sequence[str], factors: Factors = UNWEIGHTED
    ) -> dict[str, dict[str, Tensor]]:
        """Return the gradient of each term's mean squared residual, {term: {variable: of the variable's shape}}.

        Args:
            equations: terms.
            conditions: further terms.
            factors: {term: what multiplies each of its residuals, shape (n,)}; absent for none.
        """
        found = {term: self._equation_gradient(term, factors) for term in equations}
        found |= {term: self._condition_gradient(term, factors) for term in conditions}
        return {term: dict(zip(self._variables, values, strict=True)) for term, values in found.items()}

    def tangent_kernel_traces(
        self, equations: Sequence[str], conditions: Sequence[str], factors: Factors = UNWEIGHTED
    ) -> dict[str, Tensor]:
        """Return the trace of each term's neural tangent kernel, a scalar: its residuals' squared gradient norms.

        Each point of an equation is differentiated by itself, and each residual of a condition, whose residuals may
        belong to several points each.

        Args:
            equations: terms.
            conditions: further terms.
            factors: {term: what multiplies each of its residuals, shape (n,)}; absent for none.
        """
        return {term: self._equation_trace(term, factors) for term in equations} | {
            term: self._condition_trace(term, factors) for term in conditions
        }

    def _equation_gradient(self, term: str, factors: Factors) -> list[Tensor]:
        def total(coordinates: Tensor, factor: Tensor) -> Tensor:
            return ops.sum(ops.square(factor * self._physics.residuals_at(coordinates)[term])) / len(self.points)

        gradient = self._gradient(term, total)
        factor = self._factor(term, factors, len(self.points))
        blocks = zip(_blocks(self.points, BLOCK), _blocks(factor, BLOCK), strict=True)
        parts = [gradient(*map(ops.convert_to_tensor, block)) for block in blocks]
        return [sum(own[1:], own[0]) for own in zip(*parts, strict=True)]

    def _condition_gradient(self, term: str, factors: Factors) -> list[Tensor]:
        def mean(factor: Tensor) -> Tensor:
            return namespace.mean(ops.square(factor * self._physics.condition_residuals()[term]))

        return list(self._gradient(term, mean)(ops.convert_to_tensor(self._factor(term, factors))))

    def _gradient(self, term: str, loss: Callable[..., Tensor]) -> Callable[..., Any]:
        variables = list(self._variables.values())
        return self._once("gradient", term, lambda: self._tools.gradients(loss, variables, self._others))

    def _equation_trace(self, term: str, factors: Factors) -> Tensor:
        def one(example: Tensor) -> Tensor:
            return example[-1] * self._physics.residuals_at(ops.expand_dims(example[:-1], 0))[term][0]

        return self._trace(term, one, np.column_stack([self.points, self._factor(term, factors, len(self.points))]))

    def _condition_trace(self, term: str, factors: Factors) -> Tensor:
        def one(row: Tensor) -> Tensor:
            return ops.sum(row * self._physics.condition_residuals()[term])

        size = int(self._physics.condition_residuals()[term].shape[0])
        return self._trace(term, one, self._factor(term, factors) * np.eye(size, dtype=self.points.dtype))

    def _factor(self, term: str, factors: Factors, *shape: int) -> NDArray[Any]:
        """What multiplies each residual of a term; ones of a shape where nothing does."""
        dtype = self.points.dtype
        return to_numpy(factors[term]).astype(dtype) if term in factors else np.ones(shape, dtype)

    def _trace(self, term: str, one: Callable[[Tensor], Tensor], examples: NDArray[Any]) -> Tensor:
        variables = list(self._variables.values())
        if self._physics.method != "jets":  # nested derivatives are not vectorized on every backend
            gradient = self._once("trace", term, lambda: self._tools.gradients(one, variables, self._others))
            rows = (gradient(ops.convert_to_tensor(example)) for example in examples)
            return sum(ops.sum(ops.square(values)) for row in rows for values in row)
        at_once = GRADIENT_ENTRIES // max(1, sum(int(np.prod(v.shape)) for v in variables))
        norms = self._once(
            "trace",
            term,
            lambda: self._tools.squared_gradients(one, variables, self._others),
        )
        blocks = _blocks(examples, min(max(1, at_once), EXAMPLES))
        return sum(ops.sum(norms(ops.convert_to_tensor(block))) for block in blocks)

    def _once(self, what: str, term: str, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if (what, term) not in self._compiled:
            self._compiled[what, term] = make()
        return self._compiled[what, term]


def _blocks(rows: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Blocks of nearly equal size, so that two shapes at most are compiled."""
    return np.array_split(rows, -(-len(rows) // size))
