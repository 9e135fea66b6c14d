"""One capture: the signals of a torch training at an iteration, and what the probes make of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.monitoring import capture
from phasecore.probes import Probe
from phasecore.signals import (
    ADAM_LEARNING_RATES,
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
    Moments,
)
from phasecore_torch.arrays import as_numpy
from phasecore_torch.distribution import gathered
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.movements import Movements
from phasecore_torch.optimizers import adam_learning_rates, adam_moments, keeps_adam, keeps_learning_rates
from phasecore_torch.points import Points
from phasecore_torch.sources import BatchLoss, CustomSource, PhysicsSource, Source

Probes = capture.Probes

SUPPLIES = PhysicsSource.can_supply | {ADAM_MOMENTS, ADAM_LEARNING_RATES}
"""Signals that a probe can require of this backend."""


@final
class Capture(capture.Capture):
    """Measures probes at the current state of a training, without changing it.

    Args:
        loss: a `PhysicsLoss`, or a callable from a batch to its mean loss, a scalar, with `points`.
        optimizer: any; with Adam's moments where it keeps them. Those of another optimizer count once that has made
            the last step.
        points: for a callable: what is cut into batches along the first axis, see `PhaseMonitor`.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
        batches: number of batches of the gradient statistics: contiguous blocks of the points, as equal as can be.
        biases: count the biases, and everything else below two axes, among the parameters of the gradient statistics
            too. Adam's statistics count all that is trained.

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

    backend: ClassVar[str] = "torch"
    fix: ClassVar[str] = (
        "Use a PhysicsLoss, an optimizer of the Adam family for 'adam_...', torch's own activation "
        "functions for 'activations', or drop the probe."
    )

    def __init__(
        self,
        loss: PhysicsLoss | BatchLoss,
        optimizer: torch.optim.Optimizer,
        *,
        points: Points | None = None,
        probes: Probes | None = None,
        batches: int = 100,
        biases: bool = False,
    ) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._biases = biases
        self._movements = Movements(optimizer)
        self._layers: dict[str, str] = {}
        self._check_parameters()
        self._source: Source
        if isinstance(loss, PhysicsLoss):
            if points is not None:
                raise InputError("argument 'points'", received="points beside a PhysicsLoss", expected="its own points")
            self._source = PhysicsSource(loss, self._parameters, batches)
        else:
            self._source = CustomSource(loss, self._parameters, batches, points)
        self._begin(
            self._source, probes, keeps_adam=keeps_adam(optimizer), keeps_learning_rates=keeps_learning_rates(optimizer)
        )
        self._has_warned = False

    def is_moved_by(self, optimizer: torch.optim.Optimizer) -> bool:
        """Return whether an optimizer changes parameters of the model or of the loss, whoever made it."""
        own = [*self._trained().values(), *(self._loss.parameters() if isinstance(self._loss, nn.Module) else ())]
        moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return not moved.isdisjoint(map(id, own))

    def moved_by(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note of the optimizer that made the last step, where that was in another session."""
        self._movements.hear(optimizer)

    def prepare_backward(self, *, measure: bool = True, due: Sequence[Probe] | None = None) -> None:
        """Have the gradients of the batches noted on the training's own way back from the next loss, or not.

        Args:
            measure: whether to; what was noted until now is forgotten.
            due: which of `probes` will be measured; None for all.
        """
        if measure and BATCH_GRADIENT_MOMENTS in self._measuring.required(due):
            self._source.listen()
        else:
            self._source.heard()

    def backward(
        self, loss: Tensor, iteration: int | None = None, due: Sequence[Probe] | None = None
    ) -> dict[str, float]:
        """Do `loss.backward()` and return the scalars of the probes at the current state, in one pass where it can.

        Args:
            loss: of the training, a scalar.
            iteration: optimizer steps done, for messages.
            due: which of `probes`; None for all.
        """
        self._source.backward(loss)
        return self.heard(iteration, due)

    def heard(self, iteration: int | None = None, due: Sequence[Probe] | None = None) -> dict[str, float]:
        """Return the scalars of the probes at the current state, from what was noted on the way back if it was.

        Args:
            iteration: optimizer steps done, for messages.
            due: which of `probes`; None for all.
        """
        values = self._values(self._measuring.required(due), self._source.heard())
        return self._row(values, iteration, due)

    def _values(self, required: frozenset[str], moments: Mapping[str, Moments] | None = None) -> dict[str, Any]:
        """The signals, gradient moments as they came of a backward pass, or None to take them now."""
        with torch.inference_mode(False), torch.enable_grad(), self._source.undisturbed():
            return gathered(self._signals(required, moments), self._source.layout)

    def _coefficients(self) -> Mapping[str, Tensor]:
        """Their values; one warning tells of those that are trained and that nothing has moved."""
        if not isinstance(self._loss, PhysicsLoss):
            return {}
        held = {id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]}
        self._loss.trained_coefficients.warn_of_forgotten(self._loss.model, held)
        return self._loss.coefficients()

    def _signals(self, required: frozenset[str], moments: Mapping[str, Moments] | None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        parameters = self._parameters()
        if required & {ADAM_MOMENTS, ADAM_LEARNING_RATES}:
            values |= self._of_adam()
        values |= self._source.signals(required)
        if BATCH_GRADIENT_MOMENTS in required:
            moments = self._source.gradient_moments() if moments is None else moments
            if moments:
                values[BATCH_GRADIENT_MOMENTS] = {
                    self._layer(name): Moments(as_numpy(mean), as_numpy(deviation))
                    for name, (mean, deviation) in moments.items()
                }
            elif not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    "Gradient statistics are left out: "
                    + ("the loss depends on none of the parameters" if parameters else "no weight matrix is trained")
                    + " any more (frozen, detached or no part of the loss).",
                    stacklevel=5,
                )
        return values

    def _of_adam(self) -> dict[str, Any]:
        """What Adam keeps of all that is trained, in whatever module; matrices by the name of their layer."""
        named = self._trained()
        known = {id(parameter) for parameter in named.values()}
        others = [p for group in self._optimizer.param_groups for p in group["params"] if id(p) not in known]
        named |= {f"parameter_{place}": p for place, p in enumerate(others) if p.requires_grad}
        values = {}
        movers = self._movements.movers(named)
        for signal, read in ((ADAM_MOMENTS, adam_moments), (ADAM_LEARNING_RATES, adam_learning_rates)):
            found = {name: read(mover, named[name]) for name, mover in movers.items()}
            values[signal] = {self._layers.get(name, name): own for name, own in found.items() if own is not None}
        return {signal: found for signal, found in values.items() if found}

    def _parameters(self) -> dict[str, Tensor]:
        """The parameters of the gradient statistics as they are now, by name where the model is known."""
        chosen = {name: p for name, p in self._trained().items() if self._biases or p.ndim >= 2}
        for name in chosen:
            self._layer(name)
        return chosen

    def _trained(self) -> dict[str, Tensor]:
        """The trained parameters of the model, or where it is not known the optimizer's."""
        model = self._loss.model if isinstance(self._loss, PhysicsLoss) else self._loss
        named: dict[str, Tensor] = dict(model.named_parameters()) if isinstance(model, nn.Module) else {}
        if not named:
            trained = (p for group in self._optimizer.param_groups for p in group["params"])
            named = {str(k): p for k, p in enumerate(trained)}
        return {name: p for name, p in named.items() if p.requires_grad}

    def _check_parameters(self) -> None:
        """Refuse a training of which nothing is measured."""
        if not self._parameters():
            raise InputError(
                "gradient statistics",
                received="no trainable weight matrix",
                expected="a model with parameters of two axes or more that require gradients",
                fix="Pass biases=True to count all parameters.",
            )

    def _layer(self, name: str) -> str:
        """The name in the history of what the model calls otherwise: it stays the same whatever is frozen later."""
        return self._layers.setdefault(name, f"layer{len(self._layers)}")
