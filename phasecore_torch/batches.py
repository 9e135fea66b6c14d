"""Residuals whose backward pass yields the gradient of every batch of points beside that of the loss."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from phasecore.signals import Moments
from phasecore_torch.blocks import Evaluate
from phasecore_torch.compiling import Compiled
from phasecore_torch.device import points_in_cache, threads_of
from phasecore_torch.gradients import filled, leaves, plain, widened
from phasecore_torch.memory import Anchors
from phasecore_torch.moments import MomentAccumulator
from phasecore_torch.wrapped import passing_by

GRADIENT_ENTRIES = {"cpu": 2**21}
"""Most numbers that the gradients of the batches of a group may hold: on a CPU, more leave the cache."""

ELSEWHERE = 2**27
"""The same on other devices: half a gigabyte in float32."""


@final
class BatchedResiduals:
    """Residuals at points that are cut into batches, in order, and the moments of the batches' gradients.

    The batches of a group are evaluated together, each with parameters of its own, all equal: what a backward pass
    computes of a layer's weights is then one product of matrices for each batch, as much arithmetic as the one product
    for all points that it replaces, and the training's gradient is their sum. To autograd the residuals are an ordinary
    differentiable function of whatever they are computed from, the model's parameters or anything else. Where the
    evaluation cannot be vectorized, batches are gone through one by one.

    Args:
        evaluate: maps points (n, dimension), and parameters to use in place of the model's own, by name, to the
            residuals by equation, shape (n,) each.
        width: of the model's widest layer.
        parameters: of the model, all that are trained, by the name that `evaluate` knows them by.
        measured: names of those that the moments are of.
        points: shape (n, dimension).
        batches: number of batches, as equal as can be.
        stackable: whether the evaluation can be vectorized, see `phasecore_torch.blocks.is_stackable`.
        compiled: compile the evaluation, if it is vectorized, and the accumulation.
        share: what the mean over all points is multiplied by in the loss, see `phasecore_torch.layout.Layout`.
        model: that is evaluated, if known.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> def evaluate(points, parameters=None):
        ...     return {"r": torch.func.functional_call(model, parameters or {}, points)[..., 0]}
        >>> points = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> weight = dict(model.named_parameters())
        >>> batched = BatchedResiduals(evaluate, 1, weight, ["weight"], points, 2, stackable=True)
        >>> batched(points)["r"].mean().backward()
        >>> moments = batched.take().moments({})["weight"]
        >>> model.weight.grad.item(), moments.mean.item(), moments.standard_deviation.item()
        (2.5, 2.5, 1.0)
    """

    def __init__(
        self,
        evaluate: Evaluate,
        width: int,
        parameters: Mapping[str, Tensor],
        measured: Sequence[str],
        points: Tensor,
        batches: int,
        *,
        stackable: bool,
        compiled: bool = False,
        share: float = 1.0,
        model: object = None,
    ) -> None:
        self._evaluate, self._model = evaluate, model
        self.share = share
        self.parameters = dict(parameters)
        self._stackable = stackable
        self.measured = list(measured)
        count, device = len(points), points.device
        sizes = [len(batch) for batch in torch.arange(count).tensor_split(batches)]
        samples = [self.parameters[name] for name in self.measured]
        entries = max(1, sum(parameter.numel() for parameter in samples))
        longest, together = sizes[0], threads_of(points) * points_in_cache(points, width)
        most = min(together // longest, GRADIENT_ENTRIES.get(device.type, ELSEWHERE) // entries)
        groups = math.ceil(batches / max(1, most)) if stackable else batches
        self._together = math.ceil(batches / groups)
        starts = torch.tensor(list(itertools.accumulate(sizes, initial=0))[:-1])
        rows = torch.arange(longest)
        # batches that are short, and the last group, are filled up with points whose residuals nobody reads
        places = torch.minimum(starts[:, None] + rows, starts[:, None] + torch.tensor(sizes)[:, None] - 1)
        lacking = groups * self._together - batches
        filled = torch.cat([places, places[-1:].expand(lacking, -1)])
        self._index = filled.reshape(groups, self._together, longest).to(device)
        is_real = rows < torch.tensor(sizes)[:, None]
        self._where = torch.nonzero(is_real.flatten()).flatten().to(device)
        self._is_whole = len(self._where) == filled.numel()
        self.in_group = [min(self._together, batches - start) for start in range(0, batches, self._together)]
        self.batches = batches
        # from the gradient of a sum over the batch to that of its mean, both as parts of a mean over all points
        uneven = torch.tensor([count / (size * batches) for size in sizes], dtype=points.dtype, device=device)
        self.uneven = None if sizes[0] == sizes[-1] else torch.split(uneven, self._together)
        self._apply = Compiled(
            torch.func.vmap(evaluate) if stackable else evaluate,
            "gradients of batches are taken",
            parameters=self.parameters.values(),
            active=compiled and stackable,
        )
        self.merge = Compiled(MomentAccumulator.merge, "moments are accumulated", parameters=samples, active=compiled)
        self._anchors = Anchors()
        self._pass: BackwardPass | None = None

    def __call__(self, points: Tensor) -> dict[str, Tensor]:
        """Return the residuals by equation, shape (n,) each; their backward pass leaves something to `take`."""
        if self._pass is not None:
            self._pass.release()
        self._pass = BackwardPass(self)
        with contextlib.nullcontext() if self._apply.active else passing_by(self._model):
            groups = [self._group(points[index], number) for number, index in enumerate(self._index)]
        self._anchors.drop(points)
        return {name: self._in_order([group[name] for group in groups]) for name in groups[0]}

    def take(self) -> BackwardPass | None:
        """Return what the last backward pass left, once: None if there was none, or another than one through all."""
        taken, self._pass = self._pass, None
        if taken is None:
            return None
        taken.release()
        return taken if taken.is_complete else None

    def forget(self) -> None:
        """Leave nothing to `take` of a way back that was gone already, by somebody who did not ask for it."""
        if self._pass is not None and self._pass.has_begun:
            self._pass.release()
            self._pass = None

    def watch(self, loss: Tensor) -> None:
        """Have the way back through a loss made of these residuals noted, see `BackwardPass.begin`."""
        if self._pass is not None and loss.requires_grad:
            loss.register_hook(self._pass.begin)  # type: ignore[no-untyped-call]

    def _group(self, points: Tensor, number: int) -> dict[str, Tensor]:
        """Evaluate batches of points (batches, rows, dimension), which have parameters of their own."""
        parameters = self.parameters
        copies = _Copies.apply(self._pass, number, len(points), *parameters.values())  # type: ignore[no-untyped-call]
        if self._stackable:
            with warnings.catch_warnings():
                # the compiler looks at the gradients of all that it is given
                warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
                return self._apply(points, dict(zip(parameters, copies, strict=True)))  # type: ignore[no-any-return]
        own = {name: copy[0] for name, copy in zip(parameters, copies, strict=True)}
        return {name: values[None] for name, values in self._apply(points[0], own).items()}

    def _in_order(self, groups: Sequence[Tensor]) -> Tensor:
        values = torch.cat([group.flatten() for group in groups])
        return values if self._is_whole else values.index_select(0, self._where)


@final
class BackwardPass:
    """What one backward pass through the batches leaves.

    Args:
        batched: the residuals that are gone back through.

    Attributes:
        totals: gradient of the loss by way of the residuals, see `phasecore_torch.gradients.plain`, by name, of the
            measured parameters that were reached.
    """

    def __init__(self, batched: BatchedResiduals) -> None:
        self._batched = batched
        self._accumulator = MomentAccumulator(batched.merge)
        self._passed: list[int] = []
        self._factor: Tensor | None = None
        self._arrived: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []
        self._is_hooked = False
        self.totals: dict[str, Tensor] = {}

    @property
    def has_begun(self) -> bool:
        """Whether any group was gone back through."""
        return bool(self._passed)

    @property
    def is_complete(self) -> bool:
        """Whether each group was gone back through, once."""
        return sorted(self._passed) == list(range(len(self._batched.in_group)))

    def begin(self, gradient: Tensor) -> None:
        """Hear with what gradient, a scalar, the way back starts: 1, or a factor that the loss was multiplied by.

        From here on, what arrives at the parameters is noted, once for each.
        """
        self.release()
        self._factor = gradient.detach()
        measured = {name: self._batched.parameters[name] for name in self._batched.measured}
        self._is_hooked = any(parameter._backward_hooks for parameter in measured.values())
        self._handles = [
            parameter.register_hook(functools.partial(self._arrive, name))  # type: ignore[no-untyped-call]
            for name, parameter in measured.items()
        ]

    def release(self) -> None:
        """Note no more of what arrives."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def common(self) -> dict[str, Tensor] | None:
        """Return what the gradients of all batches have beside those that came by way of the residuals, by name.

        None where the way back did not begin at a watched loss, or hooks of somebody else may change gradients.
        """
        if self._factor is None or self._is_hooked:
            return None
        totals = self.totals
        return {name: own - totals[name] if name in totals else own for name, own in self._arrived.items()}

    def _arrive(self, name: str, gradient: Tensor | None) -> None:
        if gradient is not None and name not in self._arrived:
            self._arrived[name] = plain(gradient)

    def add(self, number: int, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Take the gradients of a group's batches, and return their sums.

        Args:
            number: of the group.
            gradients: for each parameter, shape (batches, *shape); None for one that was not reached.
        """
        self._passed.append(number)
        names = self._batched.parameters
        reached = {name: gradient for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
        with torch.no_grad():
            totals = self._totals(number, {name: plain(gradient) for name, gradient in reached.items()})
        if torch.is_grad_enabled():
            # a backward pass that is differentiated again
            return [None if gradient is None else gradient.sum(0) for gradient in gradients]
        return [
            None if gradient is None else torch.view_as_complex(totals[name]) if gradient.is_complex() else totals[name]
            for name, gradient in zip(names, gradients, strict=True)
        ]

    def _totals(self, number: int, reached: Mapping[str, Tensor]) -> dict[str, Tensor]:
        batched = self._batched
        real = batched.in_group[number]
        copies = (batched.parameters[name].expand(real, *batched.parameters[name].shape) for name in batched.measured)
        every = filled(map(reached.get, batched.measured), copies)
        samples = {name: values[:real] for name, values in zip(batched.measured, every, strict=True)}
        if batched.uneven is not None:
            samples = {name: _scaled(values, batched.uneven[number]) for name, values in samples.items()}
        self._accumulator.add(list(samples.values()))
        centres = dict(zip(samples, self._accumulator.centres, strict=True))
        totals = {}
        if batched.uneven is None:
            totals = {name: centre * real for name, centre in centres.items() if name in reached}
        totals |= _summed({name: values for name, values in reached.items() if name not in totals})
        for name in batched.measured:
            if name in totals:
                self.totals[name] = self.totals[name] + totals[name] if name in self.totals else totals[name]
        return totals

    def moments(self, shift: Mapping[str, Tensor]) -> dict[str, Moments] | None:
        """Return the moments of the gradients of each batch's mean, by name, for the parameters that were reached.

        Args:
            shift: what the gradients of all batches have beside, by name, as it came in the backward pass.

        Returns:
            None where the loss was multiplied by a factor with which the gradients are not finite, or vanish.
        """
        factor = 1.0 if self._factor is None else float(self._factor)
        if factor == 0.0:
            return None
        found = {}
        for name, (mean, deviation) in zip(self._batched.measured, self._accumulator.result(), strict=True):
            if name in self.totals or name in shift:
                # what came are gradients of a mean over all points
                count = self._batched.batches / self._batched.share
                mean = mean * count
                mean = mean + widened(shift[name]) if name in shift else mean
                found[name] = Moments(mean / factor, deviation * (count / abs(factor)))
        overflown = factor != 1.0 and not all(bool(moments.mean.isfinite().all()) for moments in found.values())
        return None if overflown else found


class _Copies(torch.autograd.Function):
    """Parameters that each batch of a group has for its own; their gradients are heard on the way back."""

    @staticmethod
    def forward(ctx: Any, heard_by: BackwardPass, number: int, batches: int, *parameters: Tensor) -> Any:
        ctx.heard_by, ctx.number = heard_by, number
        ctx.set_materialize_grads(False)
        return tuple(parameter.detach().expand(batches, *parameter.shape) for parameter in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        return None, None, None, *ctx.heard_by.add(ctx.number, gradients)


def can_be_copied(evaluate: Evaluate, parameters: Mapping[str, Tensor], points: Tensor) -> bool:
    """Return whether copies can take the place of parameters in an evaluation: nothing there reads the originals.

    Args:
        evaluate: see `BatchedResiduals`.
        parameters: by the names that it knows them by.
        points: a few of them, shape (n, dimension).
    """
    copies = {name: parameter.detach().clone().requires_grad_() for name, parameter in parameters.items()}
    try:
        with torch.enable_grad():
            values = list(evaluate(points, copies).values())
    except Exception:
        return False
    originals = {id(parameter) for parameter in parameters.values()}
    return not any(id(leaf) in originals for leaf in leaves(values))


def _scaled(samples: Tensor, factors: Tensor) -> Tensor:
    return samples * factors.reshape(-1, *(1 for _ in samples.shape[1:]))


def _summed(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sums over batches, in one go."""
    if not gradients:
        return {}
    total = torch.cat([values.unsqueeze(-1).flatten(1) for values in gradients.values()], 1).sum(0)
    shapes = [values.shape[1:] for values in gradients.values()]
    parts = torch.split(total, [shape.numel() for shape in shapes])
    return {name: part.view(shape) for name, part, shape in zip(gradients, parts, shapes, strict=True)}
