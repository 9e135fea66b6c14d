"""Where a capture's signals come from: a `PhysicsLoss`, or a loss of the user's own with its points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

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
from phasecore_torch.activations import HiddenActivations
from phasecore_torch.batches import BatchedResiduals
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.moments import MomentAccumulator
from phasecore_torch.undisturbed import undisturbed

BatchLoss = Callable[..., Tensor]
"""A user's own loss: from a batch of points (one tensor, or several that belong together) to a scalar, a mean."""

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
        TARGETS,
    }
)
BLOCK = 16_384
"""Most points at which activations are evaluated at once."""


class Source(ABC):
    """Where signals come from: the loss with its points.

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
        """Return the moments of the batch gradients of each parameter."""

    @abstractmethod
    def prepare_backward(self, *, measure: bool) -> None:
        """Hear whether the next loss goes to `backward`."""

    def backward(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Moments] | None:
        """Do `loss.backward()`; return the moments if they come of it, or None.

        Args:
            loss: of the training, a scalar.
            parameters: all that are trained.
        """
        torch.autograd.backward(loss)
        return None


@final
class PhysicsSource(Source):
    """The signals of a `PhysicsLoss`.

    Args:
        loss: the loss.
        parameters: those of the gradient statistics, by name.
        batches: number of batches.
    """

    can_supply: ClassVar[frozenset[str]] = ALWAYS | OF_PHYSICS | {ACTIVATIONS}

    def __init__(self, loss: PhysicsLoss, parameters: Mapping[str, Tensor], batches: int) -> None:
        self._loss = loss
        self._parameters = dict(parameters)
        check_batches(batches, len(loss.points))
        self._sizes = np.asarray([len(part) for part in np.array_split(np.arange(len(loss.points)), batches)])
        trained = loss.trained_parameters()
        known = {id(parameter) for parameter in trained.values()}
        others = {name: parameter for name, parameter in parameters.items() if id(parameter) not in known}
        self._batched = BatchedResiduals(
            loss.residuals_at,
            loss.blocks.width,
            trained | others,
            list(self._parameters.values()),
            loss.points,
            batches,
            stackable=loss.is_stackable,
            compiled=loss.blocks.compiled,
        )
        self._hidden = HiddenActivations(loss.model)
        with undisturbed(loss.model):
            found = self._hidden.count(loss.points[:2])
        self.supplies = self.can_supply if found else self.can_supply - {ACTIVATIONS}

    def prepare(self, required: frozenset[str]) -> None:
        """Track the attention and evaluate the reference solution, where required."""
        if RESIDUAL_ATTENTION in required:
            self._loss.track_attention()
        if TARGETS in required:
            self._targets = reference_of(self._loss.problem, as_numpy(self._loss.points), self._loss.field_names)
        if required & {FIELDS, REFERENCE_FIELDS}:
            grid = self._loss.problem.evaluation_points()
            self._reference = reference_of(self._loss.problem, grid, self._loss.field_names)
            self._grid = torch.as_tensor(grid, dtype=self._loss.points.dtype, device=self._loss.points.device)

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return residuals, losses, weights, gradients, activations and fields at the current state."""
        loss = self._loss
        loss.check_weights()
        values: dict[str, Any] = {}
        if required & {RESIDUALS, CONDITION_RESIDUALS, TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            with torch.no_grad():
                evaluation = loss.evaluate()
            values[RESIDUALS] = all_as_numpy(evaluation.residuals)
            values[CONDITION_RESIDUALS] = all_as_numpy(evaluation.condition_residuals)
            values[TERM_LOSSES] = all_as_numpy(evaluation.unweighted)
            values[WEIGHTED_TERM_LOSSES] = all_as_numpy(evaluation.weighted)
        if POINT_WEIGHTS in required:
            values[POINT_WEIGHTS] = all_as_numpy(loss.point_weights())
        if RESIDUAL_ATTENTION in required:
            values[RESIDUAL_ATTENTION] = all_as_numpy(loss.residual_attention())
        if FIELDS in required:
            values[FIELDS] = all_as_numpy(loss.fields(self._grid))
        if REFERENCE_FIELDS in required:
            values[REFERENCE_FIELDS] = self._reference
        if TARGETS in required:
            values[TARGETS] = self._targets
        if TERM_GRADIENTS in required:
            values[TERM_GRADIENTS] = {term: all_as_numpy(own) for term, own in loss.term_gradients().items()}
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = all_as_numpy(loss.tangent_kernel_traces())
        if ACTIVATIONS in required:
            values[ACTIVATIONS] = _by_layer(self._hidden(block) for block in torch.split(loss.points, BLOCK))
        return values | {COORDINATES: as_numpy(loss.points), DOMAIN: loss.problem.bounds, BATCH_SIZES: self._sizes}

    def gradient_moments(self) -> list[Moments]:
        """Return the moments over the batches, the deviations taken of the equations' part of the loss alone.

        The conditions' part is the same for all batches. Its gradient, which dominates while attention weights are
        small, is added to the mean: so the deviation keeps its digits even where the mean exceeds it a million times.
        """
        loss, parameters = self._loss, list(self._parameters.values())
        residuals = self._batched(loss.points)
        equations = torch.stack([loss.weighting.loss(term, r, None) for term, r in residuals.items()]).sum()
        _gradients(equations, self._parameters)
        taken = self._batched.take()
        if taken is None:
            return [Moments(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
        return taken[0].result(shift=_gradients(loss.shared_loss(), self._parameters))

    def prepare_backward(self, *, measure: bool) -> None:
        """Let the next loss be evaluated batch by batch, or as usual."""
        self._loss.evaluate_through(self._batched if measure else None)

    def backward(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Moments] | None:
        """Do `loss.backward()`, and take the moments of the batches' gradients that it went through.

        What the gradient has beside the equations' part, such as that of the conditions, is common to all batches. A
        loss of some of the points leaves no moments.
        """
        before = [None if p.grad is None else p.grad.clone() for p in self._parameters.values()]
        self._batched.take()
        torch.autograd.backward(loss)
        taken = self._batched.take()
        if taken is None:
            return None
        accumulator, totals = taken
        shift = []
        for parameter, earlier in zip(self._parameters.values(), before, strict=True):
            rest = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
            for known in (earlier, totals.get(id(parameter))):
                if known is not None:
                    rest -= known
            shift.append(rest)
        return accumulator.result(shift=shift)


@final
class CustomSource(Source):
    """The signals of a loss of the user's own.

    Here a gradient that all batches have in common cannot be told from the rest: where it exceeds the deviation a
    million times, float32 leaves three digits of the deviation.

    Args:
        loss: from a batch to its mean loss.
        parameters: those of the gradient statistics, by name.
        batches: number of batches.
        points: what is cut into batches.

    Raises:
        InputError: without points, or with tensors of different lengths.
    """

    can_supply: ClassVar[frozenset[str]] = ALWAYS | {ACTIVATIONS}

    def __init__(
        self,
        loss: BatchLoss,
        parameters: Mapping[str, Tensor],
        batches: int,
        points: Tensor | tuple[Tensor, ...] | None,
    ) -> None:
        if points is None:
            raise InputError(
                "a loss of your own",
                received="no points",
                expected="points=..., a tensor or a tuple of tensors that is cut into batches along the first axis",
            )
        columns = points if isinstance(points, tuple) else (points,)
        if len({len(column) for column in columns}) != 1:
            raise InputError(
                "argument 'points'",
                received=f"tensors of lengths {[len(column) for column in columns]}",
                expected="tensors of one length",
            )
        check_batches(batches, len(columns[0]))
        self._loss = loss
        self._parameters = parameters
        self._batches = list(zip(*(column.tensor_split(batches) for column in columns), strict=True))
        self._hidden = HiddenActivations(loss)
        with undisturbed(loss):
            found = self._hidden.count(*self._batches[0])
        self.supplies = self.can_supply if found else self.can_supply - {ACTIVATIONS}

    def prepare(self, required: frozenset[str]) -> None:
        """Nothing to set up."""

    def prepare_backward(self, *, measure: bool) -> None:
        """Nothing to prepare."""

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the mean loss over all points as the term "data", and the activations there."""
        sizes = np.asarray([len(batch[0]) for batch in self._batches])
        values: dict[str, Any] = {BATCH_SIZES: sizes}
        if ACTIVATIONS in required:
            values[ACTIVATIONS] = _by_layer(self._hidden(*batch) for batch in self._batches)
        if required & {TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            # with gradients: a loss of a physics-informed network differentiates within
            losses = [float(self._loss(*batch).detach()) for batch in self._batches]
            mean = {"data": float(np.average(losses, weights=sizes))}
            values |= {TERM_LOSSES: mean, WEIGHTED_TERM_LOSSES: mean}
        return values

    def gradient_moments(self) -> list[Moments]:
        """Return the moments over the batches, one gradient after the other."""
        accumulator = MomentAccumulator()
        for batch in self._batches:
            accumulator.add([g[None] for g in _gradients(self._loss(*batch), self._parameters)])
        return accumulator.result()


def _by_layer(blocks: Iterable[list[Tensor]]) -> dict[str, np.ndarray[Any, Any]]:
    """Join blocks of points: {layer0: shape (n, neurons), ...}."""
    columns = zip(*([as_numpy(values) for values in block] for block in blocks), strict=True)
    return {f"layer{place}": np.concatenate(parts) for place, parts in enumerate(columns)}


def _gradients(loss: Tensor, parameters: Mapping[Any, Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters.values()]
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters.values(), found, strict=True)
    ]


def as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor on the host, in float32 or float64."""
    tensor = tensor.detach().cpu()
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return wide.numpy()


def all_as_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors on the host, by name."""
    return {name: as_numpy(tensor) for name, tensor in tensors.items()}
