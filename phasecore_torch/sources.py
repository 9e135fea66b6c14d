"""Where a capture's signals come from: a `PhysicsLoss`, or a loss of the user's own with its points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from phasecore.errors import InputError
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
from phasecore_torch.derivatives import Parameters
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

GRADIENT_ENTRIES = 2**21
"""Most numbers that the gradients of batches computed at once may hold: more leave the cache."""

WORTH_A_PASS = 2**12
"""Fewest activations of the widest layer in a batch for which going back batch by batch beats a vectorized pass."""

AT_ONCE = 10
"""How many gradients of a backward pass wait to be added to their moments."""


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
        _check_batches(batches, len(loss.points))
        self._batches = torch.arange(len(loss.points), device=loss.points.device).tensor_split(batches)
        self._hidden = HiddenActivations(loss.model)
        with undisturbed(loss.model):
            found = self._hidden.count(loss.points[:2])
        self.supplies = self.can_supply if found else self.can_supply - {ACTIVATIONS}

    def prepare(self, required: frozenset[str]) -> None:
        """Track the attention and evaluate the reference solution, where required."""
        if RESIDUAL_ATTENTION in required:
            self._loss.track_attention()
        if TARGETS in required:
            self._targets = self._loss.problem.reference(as_numpy(self._loss.points))
        if required & {FIELDS, REFERENCE_FIELDS}:
            grid = self._loss.problem.evaluation_points()
            self._reference = self._loss.problem.reference(grid)
            self._grid = torch.as_tensor(grid, dtype=self._loss.points.dtype, device=self._loss.points.device)

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return residuals, losses, weights, gradients, activations and fields at the current state."""
        loss = self._loss
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
        sizes = np.asarray([len(batch) for batch in self._batches])
        return values | {COORDINATES: as_numpy(loss.points), DOMAIN: loss.problem.bounds, BATCH_SIZES: sizes}

    def gradient_moments(self) -> list[Moments]:
        """Return the moments over the batches, the deviations taken of the equations' part of the loss alone.

        The conditions' part is the same for all batches. Its gradient, which dominates while attention weights are
        small, is added to the mean: so the deviation keeps its digits even where the mean exceeds it a million times.
        """
        accumulator = MomentAccumulator()
        gradients = self._vectorized() if isinstance(self._loss.model, nn.Module) else self._one_by_one()
        for chunk in gradients:
            accumulator.add(chunk)
        return accumulator.result(shift=_gradients(self._loss.shared_loss(), self._parameters))

    def prepare_backward(self, *, measure: bool) -> None:
        """Let the next loss be evaluated batch by batch, where batches are large enough, or as usual."""
        large = len(self._batches[0]) * self._loss.blocks.width >= WORTH_A_PASS
        self._loss.keep_apart(self._batches if measure and large else ())

    def backward(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Moments] | None:
        """Accumulate the gradients of all parameters batch by batch, and their moments on the way.

        The moments are taken as by `gradient_moments`. A loss of some of the points has none: it is left as it is.
        """
        losses = self._loss.batch_losses()
        if losses is None:
            return super().backward(loss, parameters)
        given = dict(enumerate(parameters))
        places = {id(parameter): place for place, parameter in given.items()}
        chosen = [places.setdefault(id(p), len(places)) for p in self._parameters.values()]
        given |= {places[id(p)]: p for p in self._parameters.values()}
        total = _gradients(losses[1], given)
        shared = [total[place].clone() for place in chosen]
        accumulator = MomentAccumulator()
        waiting: list[list[Tensor]] = []
        for batch, own in zip(self._batches, losses[0], strict=True):
            gradients = _gradients(own, given)
            torch._foreach_add_(total, gradients, alpha=len(batch) / len(self._loss.points))
            waiting.append([gradients[place] for place in chosen])
            if len(waiting) == AT_ONCE or batch is self._batches[-1]:
                accumulator.add([torch.stack(samples) for samples in zip(*waiting, strict=True)])
                waiting = []
        for place, parameter in enumerate(parameters):
            parameter.grad = total[place] if parameter.grad is None else parameter.grad + total[place]
        return accumulator.result(shift=shared)

    def _vectorized(self) -> Iterator[list[Tensor]]:
        if self._loss.method != "jets":
            yield from self._one_by_one()
            return
        parameters = {name: parameter.detach() for name, parameter in self._parameters.items()}
        at_once = max(1, GRADIENT_ENTRIES // sum(parameter.numel() for parameter in parameters.values()))

        def batch_loss(parameters: Parameters, indices: Tensor) -> Tensor:
            return self._loss.batch_loss(indices, parameters)

        gradient = torch.func.vmap(torch.func.grad(batch_loss), in_dims=(None, 0))
        by_size: dict[int, list[Tensor]] = {}
        for batch in self._batches:
            by_size.setdefault(len(batch), []).append(batch)
        for group in by_size.values():
            for chunk in torch.split(torch.stack(group), at_once):
                yield list(gradient(parameters, chunk).values())

    def _one_by_one(self) -> Iterator[list[Tensor]]:
        for batch in self._batches:
            yield [g[None] for g in _gradients(self._loss.batch_loss(batch), self._parameters)]


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
        _check_batches(batches, len(columns[0]))
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
            with torch.no_grad():
                losses = [float(self._loss(*batch)) for batch in self._batches]
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


def _check_batches(batches: int, points: int) -> None:
    if not 2 <= batches <= points:
        raise InputError(
            "number of batches of the gradient statistics",
            received=batches,
            expected=f"from 2 to the number of points, {points}",
        )


def as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor on the host, in float32 or float64."""
    tensor = tensor.detach().cpu()
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return wide.numpy()


def all_as_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Return tensors on the host, by name."""
    return {name: as_numpy(tensor) for name, tensor in tensors.items()}
