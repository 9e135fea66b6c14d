"""Where a capture's signals come from: a `PINN`, or any Keras model with its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.problems.checks import reference_of
from phasecore.runs.monitoring import check_batches
from phasecore.signals import (
    ACTIVATIONS,
    BATCH_GRADIENT_MOMENTS,
    BATCH_SIZES,
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    FIELDS,
    POINT_WEIGHTS,
    REFERENCE_FIELDS,
    RESIDUAL_ATTENTION,
    RESIDUALS,
    TANGENT_KERNEL_TRACES,
    TARGETS,
    TERM_GRADIENTS,
    TERM_LOSSES,
    WEIGHTED_TERM_LOSSES,
    Moments,
)
from phasecore_keras.activations import HiddenActivations
from phasecore_keras.autodiff import Tensor, autodiff, to_numpy
from phasecore_keras.internals import takes_training
from phasecore_keras.model import PINN
from phasecore_keras.moments import MomentAccumulator
from phasecore_keras.tangents import BLOCK, Tangents

Arrays = dict[str, NDArray[Any]]

ALWAYS = frozenset({BATCH_GRADIENT_MOMENTS, BATCH_SIZES, TERM_LOSSES, WEIGHTED_TERM_LOSSES})
OF_PHYSICS = frozenset(
    {
        RESIDUALS,
        CONDITION_RESIDUALS,
        POINT_WEIGHTS,
        RESIDUAL_ATTENTION,
        COORDINATES,
        DOMAIN,
        FIELDS,
        REFERENCE_FIELDS,
        TERM_GRADIENTS,
        TANGENT_KERNEL_TRACES,
        ACTIVATIONS,
        TARGETS,
    }
)
GRADIENT_ENTRIES = 2**25
"""Most numbers that the gradients of batches computed at once may hold."""


class Source(ABC):
    """Where signals come from: the model with its points.

    Class attributes:
        can_supply: names of the signals that such a source can supply (`phasecore.signals`).

    Attributes:
        supplies: names of those that this one supplies.
    """

    can_supply: ClassVar[frozenset[str]]
    supplies: frozenset[str]

    @abstractmethod
    def prepare(self, required: frozenset[str]) -> None:
        """Set up what the required signals need, once."""

    @abstractmethod
    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the required signals, all but the gradient moments, as numpy arrays."""

    @abstractmethod
    def gradient_moments(self) -> list[Moments]:
        """Return the moments of the batch gradients of each variable."""


@final
class PhysicsSource(Source):
    """The signals of a `PINN`.

    Args:
        model: the model.
        variables: those of the gradient statistics.
        batches: number of batches.
    """

    can_supply: ClassVar[frozenset[str]] = ALWAYS | OF_PHYSICS

    def __init__(self, model: PINN, variables: Sequence[Any], batches: int) -> None:
        physics = model.physics
        if physics.points is None:
            raise InputError("capturing a PINN", received="no points", fix="Call pinn.points(...) first.")
        self._model, self._physics = model, physics
        self._points = physics.points
        check_batches(batches, len(self._points))
        self._batches = np.array_split(np.arange(len(self._points)), batches)
        self._coordinates = ops.convert_to_tensor(self._points)
        self._variables = list(variables)
        self._hidden = HiddenActivations(model.network)
        found = self._hidden.count(self._coordinates[:2])
        self.supplies = self.can_supply - (frozenset() if found else {ACTIVATIONS})

    def prepare(self, required: frozenset[str]) -> None:
        """Track the attention, evaluate the reference solution, and compile what the required signals need."""
        physics, tools = self._physics, autodiff()
        if RESIDUAL_ATTENTION in required and physics.track_attention():
            self._model.make_train_function(force=True)
        if TARGETS in required:
            self._targets = reference_of(physics.problem, self._points, physics.field_names)
        if required & {FIELDS, REFERENCE_FIELDS}:
            grid = physics.problem.evaluation_points()
            self._reference = reference_of(physics.problem, grid, physics.field_names)
            blocks = np.array_split(grid.astype(self._points.dtype), -(-len(grid) // BLOCK))
            self._grid = [ops.convert_to_tensor(block) for block in blocks]
        everything = list(self._model.variables)
        chosen = {id(variable) for variable in self._variables}
        others = [variable for variable in everything if id(variable) not in chosen]
        weighted = [key for key in physics.weighting.current() if key[0] in physics.problem.equations]

        def batch_loss(coordinates: Tensor, *weights: Tensor) -> Tensor:
            return physics.batch_loss(coordinates, dict(zip(weighted, weights, strict=True)))

        if ACTIVATIONS in required:
            self._activations = tools.compiled(self._hidden, list(self._model.network.variables))
        if required & {TERM_GRADIENTS, TANGENT_KERNEL_TRACES}:
            self._tangents = Tangents(physics)
        self._evaluate = tools.compiled(lambda points: physics.evaluate(points)._asdict(), everything)
        self._fields = tools.compiled(physics.fields, everything)
        self._shared_gradient = tools.gradients(
            lambda: physics.shared_loss(physics.weighting.current()), self._variables, others
        )
        self._batch_gradient = tools.gradients(batch_loss, self._variables, others)
        self._batch_gradients = tools.batch_gradients(batch_loss, self._variables, others)

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return residuals, losses, weights and fields at the current state."""
        physics = self._physics
        values: dict[str, Any] = {COORDINATES: self._points, DOMAIN: physics.problem.bounds}
        values[BATCH_SIZES] = np.asarray([len(batch) for batch in self._batches])
        if TARGETS in required:
            values[TARGETS] = self._targets
        if required & {RESIDUALS, CONDITION_RESIDUALS, TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            evaluation = self._evaluate(self._coordinates)
            values[RESIDUALS] = all_as_numpy(evaluation["residuals"])
            values[CONDITION_RESIDUALS] = all_as_numpy(evaluation["condition_residuals"])
            values[TERM_LOSSES] = all_as_numpy(evaluation["unweighted"])
            values[WEIGHTED_TERM_LOSSES] = all_as_numpy(evaluation["weighted"])
        if POINT_WEIGHTS in required:
            values[POINT_WEIGHTS] = all_as_numpy(physics.point_weights())
        if RESIDUAL_ATTENTION in required:
            values[RESIDUAL_ATTENTION] = all_as_numpy(physics.residual_attention())
        terms = (
            list(physics.problem.equations),
            [t for t in physics.problem.terms if t not in physics.problem.equations],
        )
        if TERM_GRADIENTS in required:
            gradients = self._tangents.term_gradients(*terms)
            values[TERM_GRADIENTS] = {term: all_as_numpy(own) for term, own in gradients.items()}
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = all_as_numpy(self._tangents.tangent_kernel_traces(*terms))
        if ACTIVATIONS in required:
            blocks = np.array_split(self._points, -(-len(self._points) // BLOCK))
            values[ACTIVATIONS] = _by_layer(self._activations(ops.convert_to_tensor(block)) for block in blocks)
        if FIELDS in required:
            parts = [all_as_numpy(self._fields(block)) for block in self._grid]
            values[FIELDS] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if REFERENCE_FIELDS in required:
            values[REFERENCE_FIELDS] = self._reference
        return values

    def gradient_moments(self) -> list[Moments]:
        """Return the moments of the batch gradients of each variable.

        Only the equations' part of the loss differs between batches, so the deviations are taken of that part alone.

        The conditions' gradient, which dominates while attention weights are small, is added to the mean: so the
        deviation keeps its digits even where the mean exceeds it a million times.
        """
        accumulator = MomentAccumulator()
        for chunk in self._gradients():
            accumulator.add(chunk)
        return accumulator.result(shift=[to_numpy(gradient) for gradient in self._shared_gradient()])

    def _gradients(self) -> Iterator[list[NDArray[Any]]]:
        equations, current = self._physics.problem.equations, self._physics.weighting.current()
        weights = [to_numpy(weight) for (term, _), weight in current.items() if term in equations]
        if self._physics.method != "jets":
            for batch in self._batches:
                gradient = self._batch_gradient(*(ops.convert_to_tensor(part) for part in self._parts(batch, weights)))
                yield [to_numpy(values)[None] for values in gradient]
            return
        at_once = max(1, GRADIENT_ENTRIES // sum(int(np.prod(v.shape)) for v in self._variables))
        by_size: dict[int, list[NDArray[Any]]] = {}
        for batch in self._batches:
            by_size.setdefault(len(batch), []).append(batch)
        for group in by_size.values():
            for start in range(0, len(group), at_once):
                batches = group[start : start + at_once]
                columns = zip(*(self._parts(batch, weights) for batch in batches), strict=True)
                gradients = self._batch_gradients(*(ops.convert_to_tensor(np.stack(column)) for column in columns))
                yield [to_numpy(values) for values in gradients]

    def _parts(self, batch: NDArray[Any], weights: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        return [self._points[batch], *(weight[batch] if weight.ndim else weight for weight in weights)]


@final
class CustomSource(Source):
    """The signals of any compiled Keras model, whose loss is its own.

    Args:
        model: the model.
        variables: those of the gradient statistics.
        batches: number of batches.
        points: `(inputs, targets)` or `(inputs, targets, sample_weight)`, arrays or structures of arrays of one length.
    """

    can_supply: ClassVar[frozenset[str]] = ALWAYS | {ACTIVATIONS}

    def __init__(self, model: Any, variables: Sequence[Any], batches: int, points: Any) -> None:
        expected = "points=(inputs, targets) or (inputs, targets, sample_weight), arrays of one length"
        if not isinstance(points, (tuple, list)) or len(points) not in (2, 3):
            received = "no points" if points is None else type(points).__name__
            raise InputError("monitoring a model that is no PINN", received=received, expected=expected)
        columns = [np.asarray(column) for column in keras.tree.flatten(tuple(points))]
        lengths = [len(column) if column.ndim else 0 for column in columns]
        if len(set(lengths)) != 1:
            raise InputError("argument 'points'", received=f"arrays of lengths {lengths}", expected=expected)
        check_batches(batches, lengths[0])
        floatx = keras.config.floatx()
        columns = [column.astype(floatx) if column.dtype.kind == "f" else column for column in columns]
        parts = zip(*(np.array_split(column, batches) for column in columns), strict=True)
        self._sizes = [len(part) for part in np.array_split(np.arange(lengths[0]), batches)]
        self._batches = [
            keras.tree.pack_sequence_as(tuple(points), [ops.convert_to_tensor(column) for column in part])
            for part in parts
        ]
        self._model, self._variables = model, list(variables)
        self._hidden = HiddenActivations(model)
        found = self._hidden.count(self._batches[0][0])
        self.supplies = self.can_supply - (frozenset() if found else {ACTIVATIONS})

    def prepare(self, required: frozenset[str]) -> None:
        """Compile the loss and its gradient."""
        model, tools = self._model, autodiff()
        if ACTIVATIONS in required:
            self._activations = tools.compiled(self._hidden, list(model.variables))

        def loss(x: Any, y: Any, sample_weight: Any = None) -> Tensor:
            options = {"training": True} if takes_training(model) else {}
            y_pred = model(x, **options)
            return model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)

        # the loss makes its own variables when it is first called, which must not happen while it is compiled
        x, y = self._batches[0][:2]
        model.compute_loss(x=x, y=y, y_pred=model(x), training=False)
        model.reset_metrics()
        everything = [*model.variables, *model.metrics_variables]
        chosen = {id(variable) for variable in self._variables}
        others = {id(variable): variable for variable in everything if id(variable) not in chosen}
        self._loss = tools.compiled(loss, [*self._variables, *others.values()])
        self._gradient = tools.gradients(loss, self._variables, list(others.values()))

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the mean loss over all points, and the activations there."""
        values: dict[str, Any] = {BATCH_SIZES: np.asarray(self._sizes)}
        if ACTIVATIONS in required:
            values[ACTIVATIONS] = _by_layer(self._activations(batch[0]) for batch in self._batches)
        if required & {TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            losses = [float(to_numpy(self._loss(*batch))) for batch in self._batches]
            mean = {"data": float(np.average(losses, weights=self._sizes))}
            values |= {TERM_LOSSES: mean, WEIGHTED_TERM_LOSSES: mean}
        return values

    def gradient_moments(self) -> list[Moments]:
        """Return the moments of the batch gradients of each variable."""
        accumulator = MomentAccumulator()
        for batch in self._batches:
            accumulator.add([to_numpy(gradient)[None] for gradient in self._gradient(*batch)])
        return accumulator.result()


def _by_layer(blocks: Iterable[list[Tensor]]) -> Arrays:
    """Join blocks of points: {layer0: shape (n, neurons), ...}."""
    columns = zip(*([to_numpy(values) for values in block] for block in blocks), strict=True)
    return {f"layer{place}": np.concatenate(parts) for place, parts in enumerate(columns)}


def all_as_numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    """Return each tensor's values as numpy has them."""
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}
