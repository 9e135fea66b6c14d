"""One capture: the signals of a torch training at an iteration, and what the probes make of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

import phasecore
from phasecore.errors import InputError
from phasecore.probes import Probe
from phasecore.signals import (
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
    CONDITION_RESIDUALS,
    COORDINATES,
    DOMAIN,
    FIELDS,
    POINT_WEIGHTS,
    REFERENCE_FIELDS,
    RESIDUAL_ATTENTION,
    RESIDUALS,
    TERM_LOSSES,
    WEIGHTED_TERM_LOSSES,
    AdamMoments,
    Moments,
    Signals,
    check_requirements,
)
from phasecore_torch.derivatives import Parameters
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.moments import MomentAccumulator
from phasecore_torch.undisturbed import undisturbed

BatchLoss = Callable[..., Tensor]
"""A user's own loss: from a batch of points (one tensor, or several that belong together) to a scalar, a mean."""

Probes = Sequence[str | Probe]

ALWAYS = frozenset({BATCH_GRADIENT_MOMENTS, TERM_LOSSES, WEIGHTED_TERM_LOSSES})
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
    }
)
SUPPLIES = ALWAYS | OF_PHYSICS | {ADAM_MOMENTS}
"""Signals that a probe can require of this backend."""

GRADIENT_ENTRIES = 2**25
"""Most numbers that the gradients of batches computed at once may hold."""


@final
class Capture:
    """Measures probes at the current state of a training, without changing it.

    Args:
        loss: a `PhysicsLoss`, or a callable from a batch to its mean loss, with `points`.
        optimizer: any; with Adam's moments where it keeps them.
        points: for a callable: what is cut into batches along the first axis, a tensor or a tuple of tensors.
        probes: names or objects; by default every built-in probe whose signals are there.
        batches: number of batches of the gradient statistics: contiguous blocks of the points, as equal as can be.
        biases: count the biases, and everything else below two axes, among the parameters of the statistics too.

    Raises:
        InputError: for a probe whose signals are not there, too few points, or a model without weight matrices.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> x = torch.linspace(0, 1, 200)[:, None]
        >>> capture = Capture(lambda batch: (model(batch) - batch.sin()).square().mean(), optimizer, points=x)
        >>> 0 <= capture.measure()["gradient_order"] <= 1
        True
    """

    def __init__(
        self,
        loss: PhysicsLoss | BatchLoss,
        optimizer: torch.optim.Optimizer,
        *,
        points: Tensor | tuple[Tensor, ...] | None = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
    ) -> None:
        parameters = _parameters(loss, optimizer, biases)
        self._layers = {f"layer{k}": parameter for k, parameter in enumerate(parameters.values())}
        self._optimizer = optimizer
        self._model = loss.model if isinstance(loss, PhysicsLoss) else loss
        self._source: _Source
        if isinstance(loss, PhysicsLoss):
            if points is not None:
                raise InputError("argument 'points'", received="points beside a PhysicsLoss", expected="its own points")
            self._source = _Physics(loss, parameters, batches)
        else:
            self._source = _Custom(loss, parameters, batches, points)
        self.probes = self._choose(probes)
        self._required = frozenset().union(*(probe.requires for probe in self.probes))
        self._source.prepare(self._required)

    def measure(self) -> dict[str, float]:
        """Return the scalars of all probes at the current state."""
        with undisturbed(self._model), torch.enable_grad():
            values = self._values()
        signals = Signals(values, np)
        row: dict[str, float] = {}
        for probe in self.probes:
            if probe.requires <= values.keys():
                row |= probe.measure(signals)
        return row

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if ADAM_MOMENTS in self._required:
            moments = self._adam_moments()
            if moments is not None:
                values[ADAM_MOMENTS] = moments
        values |= self._source.signals(self._required)
        if BATCH_GRADIENT_MOMENTS in self._required:
            moments_of_layers = zip(self._layers, self._source.gradient_moments(), strict=True)
            values[BATCH_GRADIENT_MOMENTS] = {
                layer: Moments(_numpy(mean), _numpy(deviation)) for layer, (mean, deviation) in moments_of_layers
            }
        return values

    def _choose(self, probes: Probes | None) -> list[Probe]:
        supplied = self._source.supplies
        if any("betas" in group for group in self._optimizer.param_groups):
            supplied = supplied | {ADAM_MOMENTS}
        if probes is None:
            known = (phasecore.probe(name) for name in phasecore.names("probe"))
            return [probe for probe in known if probe.requires <= supplied]
        chosen = [phasecore.probe(probe) if isinstance(probe, str) else probe for probe in probes]
        for probe in chosen:
            check_requirements(
                f"probe {probe.name!r}",
                probe.requires,
                "torch",
                supplied,
                fix="Use a PhysicsLoss, or an optimizer of the Adam family for 'adam_moments', or drop the probe.",
            )
        return chosen

    def _adam_moments(self) -> dict[str, AdamMoments] | None:
        """Bias-corrected moments, or None before the optimizer's first step."""
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        moments = {}
        for layer, parameter in self._layers.items():
            state = self._optimizer.state.get(parameter, {})
            if "exp_avg" not in state or "exp_avg_sq" not in state:
                return None
            first_decay, second_decay = (float(beta) for beta in groups[id(parameter)]["betas"])
            step = float(state["step"])
            moments[layer] = AdamMoments(
                _numpy(state["exp_avg"]) / (1 - first_decay**step),
                _numpy(state["exp_avg_sq"]) / (1 - second_decay**step),
            )
        return moments


class _Source(ABC):
    """Where signals come from: the loss with its points."""

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


@final
class _Physics(_Source):
    supplies = ALWAYS | OF_PHYSICS

    def __init__(self, loss: PhysicsLoss, parameters: Mapping[str, Tensor], batches: int) -> None:
        self._loss = loss
        self._parameters = dict(parameters)
        _check_batches(batches, len(loss.points))
        self._batches = torch.arange(len(loss.points), device=loss.points.device).tensor_split(batches)

    def prepare(self, required: frozenset[str]) -> None:
        if RESIDUAL_ATTENTION in required:
            self._loss.track_attention()
        if required & {FIELDS, REFERENCE_FIELDS}:
            grid = self._loss.problem.evaluation_points()
            self._reference = self._loss.problem.reference(grid)
            self._grid = torch.as_tensor(grid, dtype=self._loss.points.dtype, device=self._loss.points.device)

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        loss = self._loss
        values: dict[str, Any] = {}
        if required & {RESIDUALS, CONDITION_RESIDUALS, TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            with torch.no_grad():
                evaluation = loss.evaluate()
            values[RESIDUALS] = _all_numpy(evaluation.residuals)
            values[CONDITION_RESIDUALS] = _all_numpy(evaluation.condition_residuals)
            values[TERM_LOSSES] = _all_numpy(evaluation.unweighted)
            values[WEIGHTED_TERM_LOSSES] = _all_numpy(evaluation.weighted)
        if POINT_WEIGHTS in required:
            values[POINT_WEIGHTS] = _all_numpy(loss.point_weights())
        if RESIDUAL_ATTENTION in required:
            values[RESIDUAL_ATTENTION] = _all_numpy(loss.residual_attention())
        if FIELDS in required:
            values[FIELDS] = _all_numpy(loss.fields(self._grid))
        if REFERENCE_FIELDS in required:
            values[REFERENCE_FIELDS] = self._reference
        return values | {COORDINATES: _numpy(loss.points), DOMAIN: loss.problem.bounds}

    def gradient_moments(self) -> list[Moments]:
        """Only the equations' part of the loss differs between batches, so the deviations are taken of that part alone.

        The conditions' gradient, which dominates while attention weights are small, is added to the mean: so the
        deviation keeps its digits even where the mean exceeds it a million times.
        """
        accumulator = MomentAccumulator()
        gradients = self._vectorized() if isinstance(self._loss.model, nn.Module) else self._one_by_one()
        for chunk in gradients:
            accumulator.add(chunk)
        return accumulator.result(shift=_gradients(self._loss.shared_loss(), self._parameters))

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
class _Custom(_Source):
    supplies = ALWAYS

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
        self._mean_loss = math.nan

    def prepare(self, required: frozenset[str]) -> None:
        pass

    def signals(self, required: frozenset[str]) -> dict[str, Any]:
        if not required & {TERM_LOSSES, WEIGHTED_TERM_LOSSES}:
            return {}
        with torch.no_grad():
            sizes = [len(batch[0]) for batch in self._batches]
            losses = [float(self._loss(*batch)) for batch in self._batches]
        mean = {"data": float(np.average(losses, weights=sizes))}
        return {TERM_LOSSES: mean, WEIGHTED_TERM_LOSSES: mean}

    def gradient_moments(self) -> list[Moments]:
        accumulator = MomentAccumulator()
        for batch in self._batches:
            accumulator.add([g[None] for g in _gradients(self._loss(*batch), self._parameters)])
        return accumulator.result()


def _gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters.values()]
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters.values(), found, strict=True)
    ]


def _parameters(loss: PhysicsLoss | BatchLoss, optimizer: torch.optim.Optimizer, biases: bool) -> dict[str, Tensor]:
    """The parameters of the statistics, by name where the model is known."""
    model = loss.model if isinstance(loss, PhysicsLoss) else loss
    named: dict[str, Tensor] = dict(model.named_parameters()) if isinstance(model, nn.Module) else {}
    if not named:
        trained = (p for group in optimizer.param_groups for p in group["params"])
        named = {str(k): p for k, p in enumerate(trained)}
    chosen = {name: p for name, p in named.items() if p.requires_grad and (biases or p.ndim >= 2)}
    if not chosen:
        raise InputError(
            "gradient statistics",
            received="no trainable weight matrix",
            expected="a model with parameters of two axes or more that require gradients",
            fix="Pass biases=True to count all parameters.",
        )
    return chosen


def _check_batches(batches: int, points: int) -> None:
    if not 2 <= batches <= points:
        raise InputError(
            "number of batches of the gradient statistics",
            received=batches,
            expected=f"from 2 to the number of points, {points}",
        )


def _numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return wide.numpy()


def _all_numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: _numpy(tensor) for name, tensor in tensors.items()}
