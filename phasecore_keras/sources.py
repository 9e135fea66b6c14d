"""Where a capture's signals come from: a `PINN`, or any Keras model with its data."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.monitoring.monitor import check_batches
from phasecore.monitoring.sources import OF_ANY_LOSS, OF_PHYSICS, Source, by_layer, of_problem
from phasecore.problems.checks import compared_with, reference_of
from phasecore.signals import (
    ACTIVATIONS,
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
from phasecore_keras.autodiff import as_real, autodiff, to_numpy
from phasecore_keras.differentiation import Tensor
from phasecore_keras.internals import compute_loss, takes_training
from phasecore_keras.model import PINN
from phasecore_keras.moments import MomentAccumulator
from phasecore_keras.penalties import name_beside, regularized
from phasecore_keras.points import Batches
from phasecore_keras.scaling import gradients_through
from phasecore_keras.tangents import BLOCK, Tangents
from phasecore_keras.undisturbed import undisturbed

Arrays = dict[str, NDArray[Any]]
BatchLoss = Callable[..., Tensor]
"""From a batch of points, the parts of a tuple as arguments of their own, to its mean loss, a scalar."""

GRADIENT_ENTRIES = 2**25
"""Most numbers that the gradients of batches computed at once may hold."""


@final
class PhysicsSource(Source):
    """The signals of a `PINN`.

    Args:
        model: the model.
        parameters: those of the gradient statistics, by name.
        batches: number of batches.
    """

    can_supply: ClassVar[frozenset[str]] = OF_PHYSICS

    def __init__(self, model: PINN, parameters: Mapping[str, Any], batches: int) -> None:
        physics = model.physics
        if physics.points is None:
            raise InputError("capturing a PINN", received="no points", fix="Call pinn.points(...) first.")
        self._model, self._physics = model, physics
        self._number = batches
        self._take_points()
        self._names, self._variables = list(parameters), list(parameters.values())
        self._hidden = HiddenActivations(model.network)
        with undisturbed():
            found = self._hidden.count(ops.copy(self._coordinates[:2]))
        self.supplies = of_problem(self.can_supply - (frozenset() if found else {ACTIVATIONS}), physics.problem)

    @property
    def batched_points(self) -> int:
        """How many points the PINN has now."""
        return len(self._points)

    def prepare(self, required: frozenset[str]) -> None:
        """Track the attention, evaluate the reference solution, and compile what the required signals need."""
        physics, tools, differentiated = self._physics, autodiff(), gradients_through(self._physics.model)
        self._required = required
        if RESIDUAL_ATTENTION in required and physics.track_attention():
            self._model.make_train_function(force=True)
        self._version = physics.version
        if TARGETS in required:
            self._targets = reference_of(physics.problem, self._points, physics.field_names)
        if required & {FIELDS, REFERENCE_FIELDS}:
            grid = physics.problem.evaluation_points()
            if physics.problem.has_reference:
                grid, self._reference = compared_with(physics.problem, physics.field_names)
            blocks = np.array_split(grid.astype(self._points.dtype), -(-len(grid) // BLOCK))
            self._grid = [ops.convert_to_tensor(block) for block in blocks]
        everything = list(self._model.variables)
        chosen = {id(variable) for variable in self._variables}
        others = [variable for variable in everything if id(variable) not in chosen]
        weighted = [key for key in physics.weighting.current() if key[0] in physics.problem.equations]

        def batch_loss(coordinates: Tensor, *weights: Tensor) -> Tensor:
            return physics.batch_loss(coordinates, dict(zip(weighted, weights, strict=True)))

        is_penalized = bool(regularized(physics.trainable_variables))

        def evaluated(points: Tensor) -> dict[str, Any]:
            evaluation = physics.evaluate(points)
            beside = {name_beside(physics.problem.terms): physics.penalty()} if is_penalized else {}
            return {**evaluation._asdict(), "weighted": {**evaluation.weighted, **beside}}

        if ACTIVATIONS in required:
            self._activations = tools.compiled(self._hidden, list(self._model.network.variables))
        if required & {TERM_GRADIENTS, TANGENT_KERNEL_TRACES}:
            self._tangents = Tangents(physics)
        self._evaluate = tools.compiled(evaluated, everything)
        self._fields = tools.compiled(physics.fields, everything)
        self._shared_gradient = differentiated.gradients(
            lambda: physics.shared_loss(physics.weighting.current()), self._variables, others
        )
        self._batch_gradient = differentiated.gradients(batch_loss, self._variables, others)
        self._batch_gradients = differentiated.batch_gradients(batch_loss, self._variables, others)

    @contextlib.contextmanager
    def weighted_as_in_first_step(self) -> Iterator[None]:
        """Have the weights that the first step uses, which updates them first, as long as there was none."""
        weighting = self._physics.weighting
        with self._model.weight_updates.as_in_first_step():
            if not weighting.unstarted():
                yield
                return
            self._follow()
            now = self._evaluate(ops.copy(self._coordinates))
            signals = self._physics.signals(ops.copy(self._coordinates), now["residuals"], now["condition_residuals"])
            with weighting.as_in_first_step(signals):
                yield

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return residuals, losses, weights and fields at the current state."""
        physics = self._physics
        self._follow()
        values: dict[str, Any] = {COORDINATES: self._points, DOMAIN: physics.problem.bounds}
        values[BATCH_SIZES] = np.asarray([len(batch) for batch in self._batches])
        if TARGETS in required:
            values[TARGETS] = self._targets
        if required & {RESIDUALS, CONDITION_RESIDUALS, TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            evaluation = self._evaluate(ops.copy(self._coordinates))
            values[RESIDUALS] = _all_as_numpy(evaluation["residuals"])
            values[CONDITION_RESIDUALS] = _all_as_numpy(evaluation["condition_residuals"])
            values[TERM_LOSSES] = _all_as_numpy(evaluation["unweighted"])
            values[WEIGHTED_TERM_LOSSES] = _all_as_numpy(evaluation["weighted"])
        if POINT_WEIGHTS in required:
            values[POINT_WEIGHTS] = _all_as_numpy(physics.point_weights())
        if RESIDUAL_ATTENTION in required:
            values[RESIDUAL_ATTENTION] = _all_as_numpy(physics.residual_attention())
        terms = (
            list(physics.problem.equations),
            [t for t in physics.problem.terms if t not in physics.problem.equations],
        )
        if TERM_GRADIENTS in required:
            gradients = self._tangents.term_gradients(*terms)
            values[TERM_GRADIENTS] = {term: _gradients_as_numpy(own) for term, own in gradients.items()}
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = _all_as_numpy(self._tangents.tangent_kernel_traces(*terms))
        if ACTIVATIONS in required:
            blocks = np.array_split(self._points.copy(), -(-len(self._points) // BLOCK))
            values[ACTIVATIONS] = by_layer(
                (self._activations(ops.convert_to_tensor(block)) for block in blocks), to_numpy
            )
        if FIELDS in required:
            parts = [_all_as_numpy(self._fields(ops.copy(block))) for block in self._grid]
            values[FIELDS] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if REFERENCE_FIELDS in required:
            values[REFERENCE_FIELDS] = self._reference
        return values

    def _take_points(self) -> None:
        """Take the points as they are now, and cut them into batches."""
        points = self._physics.points
        assert points is not None
        check_batches(self._number, len(points))
        self._points = points
        self._batches = np.array_split(np.arange(len(points)), self._number)
        self._coordinates = ops.convert_to_tensor(points.copy())

    def _follow(self) -> None:
        """Go on with the points where they have moved; what is compiled stays where there are as many."""
        physics = self._physics
        if self._points is physics.points:
            return
        self._take_points()
        if self._version != physics.version:
            self.prepare(self._required)
            return
        if TARGETS in self._required:
            self._targets = reference_of(physics.problem, self._points, physics.field_names)
        if self._required & {TERM_GRADIENTS, TANGENT_KERNEL_TRACES}:
            self._tangents.points = self._points

    def gradient_moments(self) -> dict[str, Moments]:
        """Return the moments of the batch gradients of each variable.

        Only the equations' part of the loss differs between batches, so the deviations are taken of that part alone.

        The conditions' gradient, which dominates while attention weights are small, is added to the mean: so the
        deviation keeps its digits even where the mean exceeds it a million times.
        """
        accumulator = MomentAccumulator()
        for chunk in self._gradients():
            accumulator.add(chunk)
        moments = accumulator.result(shift=[to_numpy(gradient) for gradient in self._shared_gradient()])
        return dict(zip(self._names, moments, strict=True))

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
    """The signals of any Keras model, whose loss is its own.

    Args:
        model: the model.
        parameters: those of the gradient statistics, by name.
        points: `(inputs, targets)` or `(inputs, targets, sample_weight)`, or whatever `loss` takes.
        loss: from a batch to its mean loss; None for that which the model was compiled with.

    Raises:
        InputError: for a loss that is no scalar, or that no gradient leads from.
    """

    can_supply: ClassVar[frozenset[str]] = OF_ANY_LOSS

    def __init__(self, model: Any, parameters: Mapping[str, Any], points: Batches, loss: BatchLoss | None) -> None:
        self._model, self._points = model, points
        self._names, self._variables = list(parameters), list(parameters.values())
        self._loss = functools.partial(_compiled_loss, model) if loss is None else loss
        self._moments: list[Moments] = []
        self._hidden = HiddenActivations(model)
        with undisturbed():
            found = self._hidden.count(_inputs(points.first))
        self.supplies = self.can_supply - (frozenset() if found else {ACTIVATIONS})

    @property
    def batched_points(self) -> int:
        """How many points the batches hold together."""
        return sum(self._points.sizes)

    def prepare(self, required: frozenset[str]) -> None:
        """Evaluate the loss once, which makes variables of its own then, and compile it with its gradient."""
        model, tools, loss = self._model, autodiff(), self._loss
        with undisturbed():
            value = loss(*_arguments(self._points.first))
        _check_loss(value)
        everything = {id(variable): variable for variable in (*model.variables, *model.metrics_variables)}
        chosen = {id(variable) for variable in self._variables}
        others = [variable for key, variable in everything.items() if key not in chosen]
        if not tools.depends(loss, self._variables, others)(*_arguments(self._points.first)):
            raise InputError(
                "the loss of the gradient statistics",
                received="a loss from which no gradient leads to the model's variables",
                expected="a loss that depends on them",
                fix="Look for stop_gradient, detach(), no_grad and numbers of NumPy on the way, and for layers that "
                "are frozen, or of another model.",
            )
        differentiated = gradients_through(model)
        self._value_and_gradients = differentiated.value_and_gradients(
            loss, self._variables, others, once=model.run_eagerly
        )
        if ACTIVATIONS in required:
            self._activations = tools.compiled(self._hidden, list(model.variables))

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the mean loss over all points, and the activations there."""
        values: dict[str, Any] = {BATCH_SIZES: np.asarray(self._points.sizes)}
        if ACTIVATIONS in required:
            values[ACTIVATIONS] = by_layer((self._activations(_inputs(batch)) for batch in self._points), to_numpy)
        if required & {TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            losses, self._moments = self._pass()
            mean = {"data": float(np.average(losses, weights=self._points.sizes))}
            values |= {TERM_LOSSES: mean, WEIGHTED_TERM_LOSSES: mean}
        return values

    def gradient_moments(self) -> dict[str, Moments]:
        """Return the moments of the batch gradients of each variable."""
        moments, self._moments = self._moments or self._pass()[1], []
        return dict(zip(self._names, moments, strict=True))

    def _pass(self) -> tuple[list[float], list[Moments]]:
        """The loss of each batch, and the moments of the gradients, in one pass."""
        accumulator, losses = MomentAccumulator(), []
        for batch in self._points:
            value, gradients = self._value_and_gradients(*_arguments(batch))
            losses.append(float(to_numpy(value)))
            accumulator.add([to_numpy(gradient)[None] for gradient in gradients])
        return losses, accumulator.result()


def _check_loss(value: Any) -> None:
    """Refuse what a loss returned if it is no real scalar.

    Raises:
        InputError: for anything but a tensor of shape () and of floats.
    """
    if ops.is_tensor(value):
        received, dtype = f"shape {tuple(value.shape)}", keras.backend.standardize_dtype(value.dtype)
        if not tuple(value.shape) and "float" in dtype:
            return
        received += f" of {dtype}"
    else:
        received = "None" if value is None else f"a {type(value).__name__}"
    raise InputError(
        "the loss of a batch",
        received=received,
        expected="its mean, a scalar tensor of floats",
        fix="Return keras.ops.mean(...) of the points' losses, and of several terms their sum.",
    )


def _compiled_loss(model: Any, x: Any, y: Any = None, sample_weight: Any = None) -> Tensor:
    options = {"training": True} if takes_training(model) else {}
    return compute_loss(model, x, y, model(x, **options), sample_weight)


def _arguments(batch: Any) -> tuple[Any, ...]:
    return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _inputs(batch: Any) -> Any:
    return _arguments(batch)[0]


def _all_as_numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    """Return each tensor's values as numpy has them."""
    return {name: to_numpy(tensor) for name, tensor in tensors.items()}


def _gradients_as_numpy(gradients: Mapping[str, Tensor]) -> Arrays:
    return {name: as_real(to_numpy(gradient)) for name, gradient in gradients.items()}
