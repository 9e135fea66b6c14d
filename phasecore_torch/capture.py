"""One capture: the signals of a torch training at an iteration, and what the probes make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.probes import Probe
from phasecore.runs.measuring import Measuring
from phasecore.runs.monitoring import choose_probes
from phasecore.signals import (
    ADAM_MOMENTS,
    BATCH_GRADIENT_MOMENTS,
    AdamMoments,
    Moments,
)
from phasecore_torch.loss import PhysicsLoss
from phasecore_torch.sources import BatchLoss, CustomSource, PhysicsSource, Source, as_numpy
from phasecore_torch.undisturbed import undisturbed

Probes = Sequence[str | Probe]

SUPPLIES = PhysicsSource.can_supply | {ADAM_MOMENTS}
"""Signals that a probe can require of this backend."""


@final
class Capture:
    """Measures probes at the current state of a training, without changing it.

    Args:
        loss: a `PhysicsLoss`, or a callable from a batch to its mean loss, with `points`.
        optimizer: any; with Adam's moments where it keeps them.
        points: for a callable: what is cut into batches along the first axis, a tensor or a tuple of tensors.
        probes: names or objects; by default those of `phasecore.probes.DEFAULT_PROBES` whose signals are there.
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
        self._source: Source
        if isinstance(loss, PhysicsLoss):
            if points is not None:
                raise InputError("argument 'points'", received="points beside a PhysicsLoss", expected="its own points")
            self._source = PhysicsSource(loss, parameters, batches)
        else:
            self._source = CustomSource(loss, parameters, batches, points)
        self.probes = self._choose(probes)
        self._measuring = Measuring(self.probes)
        self._required = frozenset().union(*(probe.requires for probe in self.probes))
        self._source.prepare(self._required)

    def measure(self, iteration: int | None = None) -> dict[str, float]:
        """Return the scalars of all probes at the current state.

        Args:
            iteration: optimizer steps done, for messages.
        """
        return self._measured(None, iteration)

    def prepare_backward(self, *, measure: bool) -> None:
        """Say, before the loss is evaluated, whether `backward` will be called with it."""
        self._source.prepare_backward(measure=measure and BATCH_GRADIENT_MOMENTS in self._required)

    def backward(self, loss: Tensor, iteration: int | None = None) -> dict[str, float]:
        """Do `loss.backward()` and return the scalars of all probes at the current state, in one pass where it can.

        Args:
            loss: of the training, a scalar.
            iteration: optimizer steps done, for messages.
        """
        trained = [p for group in self._optimizer.param_groups for p in group["params"] if p.requires_grad]
        return self._measured(self._source.backward(loss, trained), iteration)

    def _measured(self, moments: list[Moments] | None, iteration: int | None) -> dict[str, float]:
        with undisturbed(self._model), torch.enable_grad():
            values = self._values(moments)
        return self._measuring.row(values, iteration)

    def _values(self, moments: list[Moments] | None) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if ADAM_MOMENTS in self._required:
            adam = self._adam_moments()
            if adam is not None:
                values[ADAM_MOMENTS] = adam
        values |= self._source.signals(self._required)
        if BATCH_GRADIENT_MOMENTS in self._required:
            moments = self._source.gradient_moments() if moments is None else moments
            moments_of_layers = zip(self._layers, moments, strict=True)
            values[BATCH_GRADIENT_MOMENTS] = {
                layer: Moments(as_numpy(mean), as_numpy(deviation)) for layer, (mean, deviation) in moments_of_layers
            }
        return values

    def _choose(self, probes: Probes | None) -> list[Probe]:
        supplied = self._source.supplies
        if any("betas" in group for group in self._optimizer.param_groups):
            supplied = supplied | {ADAM_MOMENTS}
        fix = (
            "Use a PhysicsLoss, an optimizer of the Adam family for 'adam_moments', torch's own activation "
            "functions for 'activations', or drop the probe."
        )
        return choose_probes(probes, supplied, "torch", fix=fix)

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
                as_numpy(state["exp_avg"]) / (1 - first_decay**step),
                as_numpy(state["exp_avg_sq"]) / (1 - second_decay**step),
            )
        return moments


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
