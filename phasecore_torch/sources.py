"""Where a capture's signals come from: a `PhysicsLoss`, or a loss of the user's own with its points."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.jets.derivatives import COMPARED
from phasecore.monitoring import sources
from phasecore.monitoring.sources import by_layer, of_problem
from phasecore.problems.checks import compared_with, reference_of
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
from phasecore_torch.arrays import all_as_numpy, as_numpy
from phasecore_torch.batches import BatchedResiduals, can_be_copied
from phasecore_torch.evaluation import evaluation_of
from phasecore_torch.gradients import filled, gradients
from phasecore_torch.keeping import modules_called
from phasecore_torch.layout import Layout, digest, layout_of
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.moments import MomentAccumulator
from phasecore_torch.points import EXPECTED, Batches, Points, arguments_of, leaves_of
from phasecore_torch.processes import check_whole, processes
from phasecore_torch.undisturbed import undisturbed

BatchLoss = Callable[..., Tensor]
"""A user's own loss: from a batch of points, in one or several arguments, to a scalar, a mean."""

Parameters = Callable[[], Mapping[str, Tensor]]

BLOCK = 16_384
"""Most points at which activations are evaluated at once."""


class Source(sources.Source):
    """Where signals come from: the loss with its points."""

    @abstractmethod
    def undisturbed(self) -> AbstractContextManager[Any]:
        """Return what surrounds an evaluation that the training must not notice."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How the points lie in the processes of the training."""

    @abstractmethod
    def listen(self) -> None:
        """Note what the training's own way back tells of the batches, from the next loss on."""

    def heard(self) -> dict[str, Moments] | None:
        """Return the moments that were noted, or None, and note no more."""
        return None

    def backward(self, loss: Tensor) -> None:
        """Do `loss.backward()`, of which alone it is noted what was gone back through."""
        torch.autograd.backward(loss)


@final
class PhysicsSource(Source):
    """The signals of a `PhysicsLoss`.

    Args:
        loss: the loss.
        parameters: returns those of the gradient statistics, by name, as they are now.
        batches: number of batches.
    """

    can_supply: ClassVar[frozenset[str]] = sources.OF_PHYSICS

    def __init__(self, loss: PhysicsLoss, parameters: Parameters, batches: int) -> None:
        self._loss = loss
        self._parameters = parameters
        self._number = batches
        loss.layout.own_batches(batches, len(loss.points))
        self._targets: Mapping[str, Any] = {}
        self._targets_of: Any = None
        self._batched: BatchedResiduals | None = None
        self._made_for: list[Any] = []
        self._hidden = HiddenActivations(loss.model)
        with self.undisturbed():
            found = self._hidden.count(loss.points[:2])
        self.supplies = of_problem(self.can_supply if found else self.can_supply - {ACTIVATIONS}, loss.problem)

    def undisturbed(self) -> AbstractContextManager[Any]:
        """Return what surrounds an evaluation that the training must not notice."""
        return undisturbed(self._loss.model, self._loss.problem)

    def prepare(self, required: frozenset[str]) -> None:
        """Track the attention and evaluate the reference solution, where required."""
        if RESIDUAL_ATTENTION in required:
            self._loss.track_attention()
        if TARGETS in required:
            self._follow()
        if required & {FIELDS, REFERENCE_FIELDS}:
            problem = self._loss.problem
            grid = problem.evaluation_points()
            if problem.has_reference:
                grid, self._reference = compared_with(problem, self._loss.field_names)
            self._grid = torch.as_tensor(grid, dtype=self._loss.points.dtype, device=self._loss.points.device)

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return residuals, losses, weights, gradients, activations and fields at the current state."""
        loss = self._loss
        loss.check_weights(loss.updates)
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
            self._follow()
            values[TARGETS] = self._targets
        if TERM_GRADIENTS in required:
            values[TERM_GRADIENTS] = {term: all_as_numpy(own) for term, own in loss.term_gradients().items()}
        if TANGENT_KERNEL_TRACES in required:
            values[TANGENT_KERNEL_TRACES] = all_as_numpy(loss.tangent_kernel_traces())
        if ACTIVATIONS in required:
            blocks = torch.split(loss.points, BLOCK)
            values[ACTIVATIONS] = by_layer(map(self._hidden, blocks), as_numpy)
        return values | {COORDINATES: as_numpy(loss.points), DOMAIN: loss.problem.bounds, BATCH_SIZES: self._sizes}

    def gradient_moments(self) -> dict[str, Moments]:
        """Return the moments over the batches, the deviations taken of the equations' part of the loss alone.

        The conditions' part is the same for all batches. Its gradient, which dominates while attention weights are
        small, is added to the mean: so the deviation keeps its digits even where the mean exceeds it a million times.
        """
        loss, parameters, weights = self._loss, self._parameters(), self._loss.weighting.current()
        found = zip(parameters, gradients(loss.shared_loss(weights), parameters.values()), strict=True)
        common = loss.layout.averaged({name: gradient for name, gradient in found if gradient is not None})
        batched = self._batches_of(parameters)
        if batched is None:
            indices = torch.arange(len(loss.points), device=loss.points.device).tensor_split(len(self._sizes))
            losses = (loss.batch_loss(loss.points[own], loss.weighting.current(own)) for own in indices)
            return _moments_of_losses(losses, parameters, common)
        residuals = batched(loss.points)
        weighted = loss.layout.shared(evaluation_of(residuals, {}, weights)).weighted
        gradients(torch.stack(list(weighted.values())).sum(), parameters.values())
        taken = batched.take()
        return {} if taken is None else taken.moments(common) or {}

    def listen(self) -> None:
        """Let the next loss be evaluated batch by batch, so that what its way back goes through is noted.

        What the gradient has beside the equations' part, such as that of the conditions, is common to all batches. A
        loss of some of the points leaves no moments, nor one whose parameters have hooks that change gradients.
        """
        self.heard()
        self._loss.evaluate_through(lambda: self._batches_of(self._parameters()))

    def heard(self) -> dict[str, Moments] | None:
        """Return the moments of the batches' gradients that were gone back through, and note no more."""
        self._loss.evaluate_through(None)
        taken = None if self._batched is None else self._batched.take()
        common = None if taken is None else taken.common()
        return None if taken is None or common is None else taken.moments(self._loss.layout.averaged(common))

    def backward(self, loss: Tensor) -> None:
        """Do `loss.backward()`, of which alone it is noted what was gone back through."""
        if self._batched is not None:
            self._batched.forget()
        torch.autograd.backward(loss)

    @property
    def layout(self) -> Layout:
        """How the points lie in the processes of the training."""
        return self._loss.layout

    @property
    def batched_points(self) -> int:
        """How many points the loss has now."""
        return len(self._loss.points)

    @property
    def _sizes(self) -> NDArray[Any]:
        """Number of points of each batch of this process, of the points as they are now."""
        count = len(self._loss.points)
        own = self._loss.layout.own_batches(self._number, count)
        return np.asarray([len(part) for part in np.array_split(np.arange(count), own)])

    def _follow(self) -> None:
        """Evaluate the reference solution at the points as they are now, where they have moved."""
        loss = self._loss
        if loss.collocation is not self._targets_of:
            self._targets_of = loss.collocation
            self._targets = reference_of(loss.problem, as_numpy(loss.points), loss.field_names)

    def _batches_of(self, parameters: Mapping[str, Tensor]) -> BatchedResiduals | None:
        """The residuals in batches, made anew where others are trained than before; None if the model resists that."""
        loss = self._loss
        if not parameters:
            return None
        named = loss.model.named_parameters() if isinstance(loss.model, nn.Module) else ()
        trained = {name: parameter for name, parameter in named if parameter.requires_grad}
        points = loss.points
        share, batches = loss.layout.shares.get(next(iter(loss.problem.equations)), 1.0), len(self._sizes)
        made_for = [*trained, *map(id, trained.values()), *parameters, points.shape, points.dtype, points.device, share]
        made_for += [batches]
        if made_for == self._made_for:
            return self._batched
        self._made_for, self._batched = made_for, None
        with self.undisturbed():
            fits = parameters.keys() <= trained.keys() and can_be_copied(loss.residuals_at, trained, points[:COMPARED])
        if fits:
            self._batched = BatchedResiduals(
                loss.residuals_at,
                loss.blocks.width,
                trained,
                list(parameters),
                points,
                batches,
                stackable=loss.is_stackable,
                compiled=loss.blocks.compiled,
                share=share,
                model=loss.model,
            )
        return self._batched


@final
class CustomSource(Source):
    """The signals of a loss of the user's own.

    Here a gradient that all batches have in common cannot be told from the rest: where it exceeds the deviation a
    million times, float32 leaves three digits of the deviation.

    Args:
        loss: from a batch to its mean loss, a scalar.
        parameters: returns those of the gradient statistics, by name, as they are now.
        batches: number of batches.
        points: what is cut into batches, see `phasecore_torch.points`.

    Raises:
        InputError: without points, for points that cannot be cut, or a loss that is no scalar with a gradient.
    """

    can_supply: ClassVar[frozenset[str]] = sources.OF_ANY_LOSS

    def __init__(self, loss: BatchLoss, parameters: Parameters, batches: int, points: Points | None) -> None:
        if points is None:
            raise InputError("a loss of your own", received="no points", expected=f"points=..., {EXPECTED}")
        self._loss = loss
        self._parameters = parameters
        measured = list(parameters().values())
        check_whole(loss, measured)
        arguments = arguments_of(points, measured[0])
        leaves = leaves_of(arguments)
        self._layout = self._layout_of(leaves, measured)
        self._batches = Batches(arguments, self._layout.own_batches(batches, len(leaves[0])), measured[0])
        self._hidden = HiddenActivations(loss)
        self._called: list[nn.Module] = []
        with torch.inference_mode(False), torch.enable_grad(), undisturbed(loss) as keeper:
            first = self._batches.first
            self._called, value = modules_called(keeper, loss, *first)
            found = gradients(self._checked(value), measured)
            self._lacks = "" if value.requires_grad else "a loss without a gradient"
            if value.requires_grad and all(gradient is None for gradient in found):
                self._lacks = "a loss that depends on none"
            count = self._hidden.count(*first)
        self.supplies = self.can_supply if count else self.can_supply - {ACTIVATIONS}

    @property
    def layout(self) -> Layout:
        """How the points lie in the processes of the training."""
        return self._layout

    @property
    def batched_points(self) -> int:
        """How many points the batches hold together."""
        return sum(self._batches.sizes)

    def undisturbed(self) -> AbstractContextManager[Any]:
        """Return what surrounds an evaluation that the training must not notice."""
        return undisturbed(self._loss, *self._called)

    def prepare(self, required: frozenset[str]) -> None:
        """Check that there are gradients, where required."""
        if BATCH_GRADIENT_MOMENTS in required and self._lacks:
            raise InputError(
                "a loss of your own",
                received=self._lacks,
                expected="a loss that depends on the parameters whose gradients are measured: those of the loss if it "
                "is a module, else those of the optimizer",
                fix="Take away detach(), torch.no_grad() or item(), and pass the optimizer of this loss.",
            )

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the mean loss over all points as the term "data", and the activations there."""
        values: dict[str, Any] = {BATCH_SIZES: np.asarray(self._batches.sizes)}
        if ACTIVATIONS in required:
            values[ACTIVATIONS] = by_layer((self._hidden(*batch) for batch in self._batches), as_numpy)
        if required & {TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            # with gradients: a loss of a physics-informed network differentiates within
            losses = [float(self._of(batch).detach()) for batch in self._batches]
            share = self._layout.shares.get("data", 1.0)
            mean = {"data": share * float(np.average(losses, weights=self._batches.sizes))}
            values |= {TERM_LOSSES: mean, WEIGHTED_TERM_LOSSES: mean}
        return values

    def listen(self) -> None:
        """Note nothing: the loss is not evaluated batch by batch."""

    def gradient_moments(self) -> dict[str, Moments]:
        """Return the moments over the batches, one gradient after the other."""
        return _moments_of_losses((self._of(batch) for batch in self._batches), self._parameters(), {})

    def _of(self, batch: tuple[Any, ...]) -> Tensor:
        return self._checked(self._loss(*batch))

    @staticmethod
    def _layout_of(points: Sequence[Tensor], parameters: Iterable[Tensor]) -> Layout:
        if processes() == 1:
            return Layout()
        same = {"initial parameters": digest(map(as_numpy, parameters))}
        return layout_of(map(as_numpy, points), {"data": len(points[0])}, same)

    @staticmethod
    def _checked(value: Any) -> Tensor:
        """A loss as it must be.

        Raises:
            InputError: for another one.
        """
        if isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point():
            return value.reshape(())
        received, fix = f"{type(value).__name__}", "Return the loss alone."
        if isinstance(value, Tensor):
            received, fix = f"a tensor of shape {tuple(value.shape)}, {value.dtype}", "Take the mean over the batch."
        elif isinstance(value, (float, int)):
            fix = "Take away item() or float()."
        raise InputError("a loss of your own", received=received, expected="a tensor of one real number", fix=fix)


def _moments_of_losses(
    losses: Iterable[Tensor], parameters: Mapping[str, Tensor], shift: Mapping[str, Tensor]
) -> dict[str, Moments]:
    """Return the moments of the gradients of losses, one after the other, by name.

    Args:
        losses: scalars.
        parameters: by name; those that no loss depends on, and that have no shift, are left out.
        shift: a gradient that all losses have beside, by name.
    """
    accumulator, reached = MomentAccumulator(), set(shift)
    for loss in losses:
        found = gradients(loss, parameters.values())
        reached |= {name for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
        accumulator.add([gradient[None] for gradient in filled(found, parameters.values())])
    extra = filled(map(shift.get, parameters), parameters.values())
    every = dict(zip(parameters, accumulator.result(shift=extra), strict=True))
    return {name: moments for name, moments in every.items() if name in reached}
