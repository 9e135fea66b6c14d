"""Evaluating a DeepXDE model on its pytorch backend: errors, losses, and gradients of batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.monitoring.deepxde.evaluation import Evaluation, Evaluator
from phasecore.monitoring.deepxde.terms import TermReader, reading
from phasecore.policies.actions import SetLearningRate
from phasecore.signals import TANGENT_KERNEL_TRACES, AdamMoments, Moments
from phasecore_torch.arrays import as_numpy
from phasecore_torch.gradients import filled, gradients
from phasecore_torch.moments import MomentAccumulator
from phasecore_torch.optimizers import adam_learning_rates, adam_moments, keeps_adam, keeps_learning_rates
from phasecore_torch.rates import change_rates
from phasecore_torch.tangents import Tangents
from phasecore_torch.undisturbed import undisturbed

Rows = NDArray[np.int64]

GRADIENT_ENTRIES = 2**21
"""Most numbers that the gradients of batches computed at once may hold: more leave the cache."""


@final
class TorchEvaluator(Evaluator):
    """Evaluates a model with its own compiled functions.

    Args:
        model: a compiled `deepxde.Model`.
        solved: the class `deepxde.data.PDE`.

    Raises:
        InputError: for data whose loss is not a sum over points of equations and conditions.
    """

    supplies: ClassVar[frozenset[str]] = Evaluator.supplies | {TANGENT_KERNEL_TRACES}

    def __init__(self, model: Any, solved: type[Any]) -> None:
        super().__init__(model, solved)
        self._vectorizes: bool | None = None

    def evaluate(self, *, weighted: bool = True) -> Evaluation:
        """Return the errors and losses of every term."""
        reader = TermReader(self.model.data)
        with self._aside():
            losses = self._losses(reader, self.arrays(weighted=weighted))
        return Evaluation([as_numpy(error) for error in reader.errors], as_numpy(losses))

    def moments(self, batches: Sequence[Rows], equations: int, *, biases: bool) -> list[Moments]:
        """Return the moments over the batches, the deviations taken of the equations' part of the loss alone."""
        accumulator = MomentAccumulator()
        chosen = self._chosen(biases)
        with self._aside():
            for chunk in self._gradients(batches, equations, chosen):
                accumulator.add(chunk)
            losses = self._losses(TermReader(self.model.data), self.arrays())
            shared = _gradients(losses[equations:].sum(), chosen.values())
        return [Moments(as_numpy(mean), as_numpy(deviation)) for mean, deviation in accumulator.result(shift=shared)]

    def term_gradients(self, table: NDArray[Any] | None = None) -> list[dict[str, NDArray[Any]]]:
        """Return the gradient of each term's mean squared error, by parameter."""
        reader = TermReader(self.model.data)
        parameters = self._chosen(True)
        with self._aside():
            self._losses(reader, self.arrays(weighted=False, table=table))
            gradients = [_gradients(error.square().mean(), parameters.values()) for error in reader.weighted]
        return [dict(zip(parameters, map(as_numpy, own), strict=True)) for own in gradients]

    def tangent_kernel_traces(self, equations: int, table: NDArray[Any] | None = None) -> list[float]:
        """Return the trace of each term's tangent kernel: one backward pass for each point."""
        start = sum(self.model.data.num_bcs)

        def residuals(indices: Tensor) -> Mapping[str, Tensor]:
            reader = TermReader(self.model.data, equations_only=True)
            self._losses(reader, self.arrays(start + indices.numpy(), weighted=False, table=table))
            return {f"equation_{place}": error.flatten() for place, error in enumerate(reader.weighted)}

        def conditions() -> Mapping[str, Tensor]:
            reader = TermReader(self.model.data)
            self._losses(reader, self.arrays(weighted=False, table=table))
            return {f"condition_{place}": error.flatten() for place, error in enumerate(reader.weighted[equations:])}

        tangents = Tangents(self.model.net, residuals, conditions)
        points = torch.arange(len(self.model.data.train_x) - start, device="cpu")
        with self._aside():
            return [float(trace) for trace in tangents.tangent_kernel_traces(points).values()]

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the optimizer; of L-BFGS there is none."""
        optimizer = self.model.opt
        return None if isinstance(optimizer, torch.optim.LBFGS) else float(optimizer.param_groups[0]["lr"])

    def set_learning_rate(self, rate: float) -> None:
        """Set it; groups of parameters keep their ratios."""
        change_rates(self.model.opt, SetLearningRate(rate))

    @property
    def keeps_adam(self) -> bool:
        """Whether the optimizer is of Adam's family."""
        return keeps_adam(self.model.opt)

    @property
    def keeps_learning_rates(self) -> bool:
        """Whether Adam's effective learning rates can be computed from what the optimizer keeps."""
        return keeps_learning_rates(self.model.opt)

    def adam_moments(self) -> dict[str, AdamMoments]:
        """Return Adam's bias-corrected moments of each parameter by name, in order; none before the first step."""
        found = {name: adam_moments(self.model.opt, parameter) for name, parameter in self._chosen(True).items()}
        return {name: moments for name, moments in found.items() if moments is not None}

    def adam_learning_rates(self) -> dict[str, NDArray[Any]]:
        """Return Adam's effective learning rates, `lr / (sqrt(v) + epsilon)`, likewise."""
        found = {name: adam_learning_rates(self.model.opt, parameter) for name, parameter in self._chosen(True).items()}
        return {name: rates for name, rates in found.items() if rates is not None}

    def _losses(self, reader: TermReader, arrays: Sequence[Any], net: Any = None) -> Tensor:
        """The losses of the terms at points with their targets and auxiliary variables."""
        own = self.model.net
        self.model.net = own if net is None else net
        try:
            with reading(self.model, reader):
                return self.model.outputs_losses_train(*arrays)[1]  # type: ignore[no-any-return]
        finally:
            self.model.net = own

    def _gradients(
        self, batches: Sequence[Rows], equations: int, chosen: Mapping[str, Tensor]
    ) -> Iterator[list[Tensor]]:
        """Gradients of the equations' part of the loss, chunks of shape (batches, *shape of the parameter)."""

        def alone(batch: Rows) -> list[Tensor]:
            losses = self._losses(TermReader(self.model.data, equations_only=True), self.arrays(batch))
            return [gradient[None] for gradient in _gradients(losses[:equations].sum(), chosen.values())]

        if self._vectorizes is None:
            self._vectorizes = self._agrees(batches[:1], equations, chosen, alone(batches[0]))
        if not self._vectorizes:
            yield from map(alone, batches)
            return
        at_once = max(1, GRADIENT_ENTRIES // sum(parameter.numel() for parameter in chosen.values()))
        for size in sorted({len(batch) for batch in batches}):
            group = [batch for batch in batches if len(batch) == size]
            for first in range(0, len(group), at_once):
                yield self._together(group[first : first + at_once], equations, chosen)

    def _together(self, batches: Sequence[Rows], equations: int, chosen: Mapping[str, Tensor]) -> list[Tensor]:
        """The gradients of batches of one size in one pass, as those of a network that has a copy for each."""
        copies = {name: p.detach().expand(len(batches), *p.shape).requires_grad_() for name, p in chosen.items()}
        reader = TermReader(self.model.data, equations_only=True, batches=len(batches))
        losses = self._losses(reader, self.arrays(np.concatenate(batches)), _Copies(self.model.net, copies))
        return _gradients(losses[:equations].sum(), copies.values())

    def _agrees(
        self, batches: Sequence[Rows], equations: int, chosen: Mapping[str, Tensor], expected: list[Tensor]
    ) -> bool:
        """Whether copies give the gradients: not if the network resists `vmap`, or an equation calls another one."""
        try:
            found = self._together(batches, equations, chosen)
        except Exception:
            return False
        return all(
            torch.allclose(own, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
            for own, other in zip(found, expected, strict=True)
        )

    def _chosen(self, biases: bool) -> dict[str, Tensor]:
        named = self.model.net.named_parameters()
        chosen = {name: p for name, p in named if p.requires_grad and (biases or p.ndim >= 2)}
        if not chosen:
            raise InputError(
                "gradient statistics",
                received="no trainable weight matrix",
                expected="a network with parameters of two axes or more that require gradients",
                fix="Pass biases=True to count all parameters.",
            )
        return chosen

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        net = self.model.net
        mode, variables = net.training, net.auxiliary_vars
        with undisturbed(net), torch.enable_grad():
            yield
        net.train(mode)
        net.auxiliary_vars = variables


@final
class _Copies:
    """A network with a copy of its parameters for each of several batches, in the place of `model.net`."""

    def __init__(self, net: nn.Module, copies: Mapping[str, Tensor]) -> None:
        self.auxiliary_vars: Any = None
        self._net = net
        self._copies = dict(copies)

    def train(self, mode: bool = True) -> None:
        self._net.train(mode)

    def parameters(self) -> Iterator[Tensor]:
        return self._net.parameters()

    def __call__(self, inputs: Tensor) -> Tensor:
        def apply(parameters: dict[str, Tensor], points: Tensor) -> Tensor:
            return torch.func.functional_call(self._net, parameters, (points,))  # type: ignore[no-any-return]

        count = len(next(iter(self._copies.values())))
        batches = inputs.reshape(count, -1, inputs.shape[1])
        return torch.func.vmap(apply, randomness="different")(self._copies, batches).flatten(0, 1)


def _gradients(loss: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    wanted = list(parameters)
    return filled(gradients(loss, wanted, retain_graph=True), wanted)
