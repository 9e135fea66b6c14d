"""The physics-informed loss of a Keras model, with its weighting; `phasecore_keras.model` puts it into `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

import phasecore
from phasecore.errors import InputError
from phasecore.problems import CollocationPoints, Problem
from phasecore.registry import as_scheme
from phasecore.signals import (
    CONDITION_RESIDUALS,
    RESIDUAL_MAXIMUM,
    RESIDUAL_MINIMUM,
    RESIDUALS,
    TERM_LOSSES,
    Signals,
    check_requirements,
)
from phasecore.weighting import WeightingScheme
from phasecore.weighting.rba import RBAState
from phasecore_keras.autodiff import Tensor
from phasecore_keras.conditions import Conditions
from phasecore_keras.derivatives import Method, Model, PartialDerivatives, placement
from phasecore_keras.namespace import namespace
from phasecore_keras.weighting import IndexedWeighting

Floats = NDArray[np.float64]
Weights = Mapping[str, Tensor]

SUPPLIES = frozenset({RESIDUALS, CONDITION_RESIDUALS, RESIDUAL_MAXIMUM, RESIDUAL_MINIMUM, TERM_LOSSES})
"""Signals that a weighting scheme can require of this backend."""


class Evaluation(NamedTuple):
    """One evaluation: residuals of equations and conditions, and the loss of each term."""

    residuals: Mapping[str, Tensor]
    condition_residuals: Mapping[str, Tensor]
    unweighted: Mapping[str, Tensor]
    weighted: Mapping[str, Tensor]


@final
class PhysicsLoss:
    """The loss of a physics-informed network: the mean squared weighted residual of every term.

    Args:
        problem: see `phasecore.problem`.
        model: maps points (n, dimension) to outputs (n, number of outputs): a Keras model or layer.
        points: `problem.sample(...)`, or the collocation points alone, shape (n, dimension); may be set later.
        weighting: a scheme, or a specification such as "uniform", "rba" or "rba:gamma=0.99".
        derivatives: "auto", or "jets" or "autodiff" to insist.

    Attributes:
        points: coordinates of the collocation points, shape (n, dimension), a numpy array, or None.
        weighting: the weights' state: a layer, to be tracked by the model that is trained.
        attention: the state of the residual-based attention that is tracked beside it, empty unless asked for.

    Raises:
        InputError: for points outside the domain or of a wrong shape, a model that does not fit the problem, or a
            scheme that needs a signal that this backend does not supply.

    Example:
        >>> import keras, phasecore
        >>> problem = phasecore.problem("helmholtz")
        >>> model = keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(1)])
        >>> loss = PhysicsLoss(problem, model, problem.sample(100, seed=0), weighting="rba")
        >>> evaluation = loss(ops.convert_to_tensor(loss.points), ops.arange(100), training=True)
        >>> sorted(evaluation.unweighted)
        ['boundary', 'pde']
    """

    def __init__(
        self,
        problem: Problem,
        model: Model,
        points: CollocationPoints | ArrayLike | None = None,
        *,
        weighting: str | WeightingScheme = "uniform",
        derivatives: Method = "auto",
    ) -> None:
        problem.check_terms()
        self.problem = problem
        self.points: NDArray[Any] | None = None
        self.collocation: CollocationPoints | None = None
        self._dtype = placement(model)
        self._equations = PartialDerivatives(
            model,
            problem.outputs,
            problem.coordinates,
            problem.all_partials(),
            problem.sample(16, seed=0).interior,
            derivatives,
        )
        self._fields = self._equations.of(problem.fields_read)
        self._conditions = Conditions(problem, (), self._dtype, self._equations)
        name, scheme = as_scheme(weighting)
        check_requirements(
            f"weighting {name!r}", scheme.requires, "keras", SUPPLIES, fix="Use a scheme that needs these signals only."
        )
        self.weighting = IndexedWeighting(scheme, name)
        self.attention = IndexedWeighting(phasecore.weighting_scheme("rba"), "attention")
        if points is not None:
            self.set_points(points)

    @property
    def model(self) -> Model:
        """The user's model."""
        return self._equations.model

    @property
    def method(self) -> str:
        """How derivatives are taken: "jets" or "autodiff"."""
        return self._equations.method

    def set_points(self, points: CollocationPoints | ArrayLike) -> None:
        """Take the collocation points; the weights start anew if their number is another.

        Raises:
            InputError: for points outside the domain, of a wrong shape, or of another problem's conditions.
        """
        given = self.problem.check_collocation_points(points)
        self.collocation = given
        self.points = given.interior.astype(self._dtype)
        self._conditions = Conditions(self.problem, given.conditions, self._dtype, self._equations)
        if self.weighting.points != len(self.points):
            self.weighting.allocate(self._blank_signals(), len(self.points))
        if self.attention.points not in (0, len(self.points)):
            self.attention.allocate(self._blank_signals(), len(self.points))

    def __call__(self, coordinates: Tensor, indices: Tensor | None, *, training: bool) -> Evaluation:
        """Return residuals and losses of a batch, after updating the weights if `training`.

        Args:
            coordinates: of the batch, shape (batch, dimension). The conditions are always used whole.
            indices: which points these are, integers of shape (batch,); None, outside training, for others than the
                collocation points, which are not weighted.
            training: whether weights are updated.
        """
        residuals = self.residuals(coordinates)
        conditions = self._conditions()
        if training:
            signals = self._signals(residuals, conditions)
            weights = self.weighting.update(signals, indices)
            if self.attention.points:
                self.attention.update(signals, indices)
        else:
            weights = {} if indices is None else self.weights(indices)
        return self._evaluation(residuals, conditions, weights)

    def evaluate(self, coordinates: Tensor) -> Evaluation:
        """Return residuals and losses at all points with the current weights, which stay as they are."""
        return self._evaluation(self.residuals(coordinates), self._conditions(), self.weights())

    def weights(self, indices: Tensor | None = None) -> dict[str, Tensor]:
        """Return the current weights by term, shape (batch,) or ()."""
        return {term: self.weighting.weight(term, indices) for term in self.weighting.weighted}

    def residuals(self, coordinates: Tensor) -> dict[str, Tensor]:
        """Return the unweighted residual of each equation at points of shape (batch, dimension), shape (batch,)."""
        partials = self._equations(coordinates)
        return dict(self.problem.residuals(self._named(coordinates), partials, namespace))

    def batch_loss(self, coordinates: Tensor, weights: Weights) -> Tensor:
        """Return the equations' part of the loss on a batch of points, with the weights given."""
        return sum(self._term_loss(residual, weights.get(t)) for t, residual in self.residuals(coordinates).items())

    def shared_loss(self, weights: Weights) -> Tensor:
        """Return the conditions' part of the loss, the same for every batch, with the weights given, and regularizers'.

        Args:
            weights: by term; those of the equations are not used.
        """
        conditions = self._conditions().items()
        total = sum((self._term_loss(residual, weights.get(term)) for term, residual in conditions), self.penalty())
        return ops.cast(total, self._dtype)

    def penalty(self) -> Tensor:
        """Return the sum of the regularizers of the model's variables, a scalar.

        Constants that no residual sees, such as the level of a pressure, enter times zero: their gradient is zero then,
        where Keras would warn that there is none.
        """
        variables = getattr(self.model, "trainable_variables", ())
        constants = [0.0 * ops.sum(v.value) for v in variables if len(v.shape) < 2]
        regularized = [v.regularizer(v.value) for v in variables if getattr(v, "regularizer", None) is not None]
        return ops.cast(sum([*constants, *regularized], ops.zeros((), dtype=self._dtype)), self._dtype)

    def track_attention(self) -> bool:
        """Keep the paper's residual-based attention beside the weights in use, as a statistic that enters no loss.

        Returns:
            Whether it was not tracked yet, so that a compiled step must be compiled anew.
        """
        if self.attention.points or self._is_attention():
            return False
        self.attention.allocate(self._blank_signals(), self.weighting.points)
        return True

    def residual_attention(self) -> dict[str, Tensor]:
        """Return the residual-based attention of each equation, shape (n,): the weights of rba, or those tracked."""
        state = self.attention.state if self.attention.points else self.weighting.state
        if not isinstance(state, RBAState):
            raise InputError(
                "residual-based attention", received="none was tracked", fix="Call track_attention() before training."
            )
        return dict(state.weights)

    def point_weights(self) -> dict[str, Tensor]:
        """Return the current weight of each point, shape (n,), for the terms that are weighted point by point."""
        return {term: weight for term, weight in self.weights().items() if len(weight.shape)}

    def fields(self, coordinates: Tensor) -> dict[str, Tensor]:
        """Return the problem's fields at points of shape (m, dimension), shape (m,) each."""
        return dict(self.problem.fields(self._named(coordinates), self._fields(coordinates), namespace))

    def _is_attention(self) -> bool:
        return isinstance(self.weighting.state, RBAState)

    def _named(self, points: Tensor) -> dict[str, Tensor]:
        return {name: points[:, axis] for axis, name in enumerate(self.problem.coordinates)}

    def _evaluation(
        self, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor], weights: Weights
    ) -> Evaluation:
        every = {**residuals, **conditions}
        return Evaluation(
            residuals,
            conditions,
            {term: ops.mean(ops.square(residual)) for term, residual in every.items()},
            {term: self._term_loss(residual, weights.get(term)) for term, residual in every.items()},
        )

    def _term_loss(self, residual: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return ops.mean(ops.square(residual))
        if self.weighting.scheme.multiplies == "residual":
            return ops.mean(ops.square(weight * residual))
        return ops.mean(weight * ops.square(residual))

    def _signals(self, residuals: Mapping[str, Tensor], conditions: Mapping[str, Tensor]) -> Signals:
        residuals = {term: ops.stop_gradient(residual) for term, residual in residuals.items()}
        conditions = {term: ops.stop_gradient(residual) for term, residual in conditions.items()}
        return Signals(
            {
                RESIDUALS: residuals,
                CONDITION_RESIDUALS: conditions,
                RESIDUAL_MAXIMUM: {term: ops.max(ops.abs(residual)) for term, residual in residuals.items()},
                RESIDUAL_MINIMUM: {term: ops.min(ops.abs(residual)) for term, residual in residuals.items()},
                TERM_LOSSES: {term: ops.mean(ops.square(r)) for term, r in {**residuals, **conditions}.items()},
            },
            namespace,
        )

    def _blank_signals(self) -> Signals:
        assert self.points is not None
        blank = ops.zeros((len(self.points),), dtype=self._dtype)
        return self._signals(
            dict.fromkeys(self.problem.equations, blank),
            {term: ops.zeros((size,), dtype=self._dtype) for term, size in self._conditions.sizes().items()},
        )
