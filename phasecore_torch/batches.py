"""Residuals whose backward pass yields the gradient of every batch of points beside that of the loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from phasecore_torch.blocks import Evaluate, go_back, points_in_cache, threads_of
from phasecore_torch.compiling import Compiled
from phasecore_torch.memory import Anchors
from phasecore_torch.moments import MomentAccumulator

GRADIENT_ENTRIES = {"cpu": 2**21}
"""Most numbers that the gradients of the batches of a group may hold: on a CPU, more leave the cache."""

ELSEWHERE = 2**27
"""The same on other devices: half a gigabyte in float32."""


class Group(NamedTuple):
    """Batches that are evaluated together: their residuals by equation, and the parameters that each batch has."""

    residuals: dict[str, Tensor]
    parameters: list[Tensor]


@final
class BatchedResiduals:
    """Residuals at points that are cut into batches, in order, and the moments of the batches' gradients.

    The residuals are an ordinary differentiable function of the parameters. Within, each batch of a group has
    parameters of its own, all equal: what a backward pass computes of a layer's weights is then one product of matrices
    for each batch, as much arithmetic as the one product for all points that it replaces, and the training's gradient
    is their sum. Where the evaluation cannot be vectorized, batches are gone through one by one.

    Args:
        evaluate: maps points (n, dimension), and parameters to use in place of the model's own, by name, to the
            residuals by equation, shape (n,) each.
        width: of the model's widest layer.
        parameters: all that are trained, by the name that `evaluate` knows them by.
        measured: which of them the moments are of.
        points: shape (n, dimension).
        batches: number of batches, as equal as can be.
        stackable: whether the evaluation can be vectorized, see `phasecore_torch.blocks.is_stackable`.
        compiled: compile the evaluation, if it is vectorized, and the accumulation.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> def evaluate(points, parameters=None):
        ...     return {"r": torch.func.functional_call(model, parameters or {}, points)[..., 0]}
        >>> points = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        >>> weight = dict(model.named_parameters())
        >>> batched = BatchedResiduals(evaluate, 1, weight, list(weight.values()), points, 2, stackable=True)
        >>> batched(points)["r"].mean().backward()
        >>> moments = batched.take()[0].result()[0]
        >>> model.weight.grad.item(), moments.mean.item(), moments.standard_deviation.item()
        (2.5, 2.5, 1.0)
    """

    def __init__(
        self,
        evaluate: Evaluate,
        width: int,
        parameters: Mapping[str, Tensor],
        measured: Sequence[Tensor],
        points: Tensor,
        batches: int,
        *,
        stackable: bool,
        compiled: bool = False,
    ) -> None:
        self._evaluate = evaluate
        self._parameters = dict(parameters)
        places = {id(parameter): place for place, parameter in enumerate(self._parameters.values())}
        self._measured = [places[id(parameter)] for parameter in measured]
        self._stackable = stackable
        count, device = len(points), points.device
        self._sizes = [len(batch) for batch in torch.arange(count).tensor_split(batches)]
        entries = max(1, sum(parameter.numel() for parameter in measured))
        together = threads_of(points) * points_in_cache(points, width)
        most = min(together // self._sizes[0], GRADIENT_ENTRIES.get(device.type, ELSEWHERE) // entries)
        groups = math.ceil(batches / max(1, most)) if stackable else batches
        self._together = math.ceil(batches / groups)
        longest = self._sizes[0]
        starts = torch.tensor(list(itertools.accumulate(self._sizes, initial=0))[:-1])
        rows = torch.arange(longest)
        # batches that are short, and the last group, are filled up with points whose residuals nobody reads
        places_of_rows = torch.minimum(starts[:, None] + rows, starts[:, None] + torch.tensor(self._sizes)[:, None] - 1)
        lacking = groups * self._together - batches
        filled = torch.cat([places_of_rows, places_of_rows[-1:].expand(lacking, -1)])
        self._index = filled.reshape(groups, self._together, longest).to(device)
        is_real = rows < torch.tensor(self._sizes)[:, None]
        self._where = torch.nonzero(is_real.flatten()).flatten().to(device)
        # from the gradient of a mean over all points to that of a mean over the batch
        scale = [count / size for size in self._sizes for _ in range(size)]
        self._scale = torch.tensor(scale, dtype=points.dtype, device=device)
        share = [size / count for size in self._sizes] + [0.0] * lacking
        self._shares = torch.tensor(share, dtype=points.dtype, device=device).reshape(groups, self._together)
        means_are_totals = self._measured if len(set(self._sizes)) == 1 else ()
        self._summed = [place for place in range(len(self._parameters)) if place not in means_are_totals]
        self._apply = Compiled(
            torch.func.vmap(evaluate) if stackable else evaluate,
            "gradients of batches are taken",
            parameters=self._parameters.values(),
            active=compiled and stackable,
        )
        self._merge = Compiled(MomentAccumulator.merge, "moments are accumulated", parameters=measured, active=compiled)
        self._anchors = Anchors()
        self._taken: tuple[MomentAccumulator, dict[int, Tensor]] | None = None

    def __call__(self, points: Tensor) -> dict[str, Tensor]:
        """Return the residuals by equation, shape (n,) each; their backward pass leaves something to `take`."""
        self._taken = None
        names: list[str] = []
        residuals = _Residuals.apply(self, names, points, *self._parameters.values())  # type: ignore[no-untyped-call]
        return dict(zip(names, residuals, strict=True))

    def take(self) -> tuple[MomentAccumulator, dict[int, Tensor]] | None:
        """Return what the last backward pass left, once: None if there was none.

        Returns:
            The moments of the gradients of each batch's mean, and the gradient for all points, by the parameter's `id`.
        """
        taken, self._taken = self._taken, None
        return taken

    def evaluate(self, points: Tensor) -> list[Group]:
        """Evaluate all groups, with what autograd needs to go back."""
        groups = [self._group(points[index]) for index in self._index]
        self._anchors.drop(points)
        return groups

    def _group(self, points: Tensor) -> Group:
        if not self._stackable:
            residuals = {name: values[None] for name, values in self._apply(points[0]).items()}
            return Group(residuals, list(self._parameters.values()))
        leaves = {
            name: parameter.detach().expand(self._together, *parameter.shape).requires_grad_()
            for name, parameter in self._parameters.items()
        }
        return Group(self._apply(points, leaves), list(leaves.values()))

    def in_order(self, groups: Sequence[Group]) -> dict[str, Tensor]:
        """Return the residuals of all points, detached, shape (n,) each."""
        together = {
            name: torch.cat([group.residuals[name].detach() for group in groups]) for name in groups[0].residuals
        }
        return {name: values.flatten()[self._where] for name, values in together.items()}

    def gradients(self, groups: list[Group], cotangents: Sequence[Tensor]) -> list[Tensor | None]:
        """Go back group by group: return the gradient of each parameter, and keep the moments over the batches.

        Args:
            groups: what `evaluate` returned; empty afterwards, as memory is given back on the way.
            cotangents: gradient of the loss with respect to the residuals of each equation, shape (n,) each.
        """
        shape = self._index.shape
        filled = [
            c.new_zeros(shape.numel()).index_copy(0, self._where, c * self._scale).reshape(shape) for c in cotangents
        ]
        accumulator = MomentAccumulator(self._merge)
        remaining = len(self._sizes)
        total: Tensor | None = None
        reached: set[int] = set()
        for number, shares in enumerate(self._shares):
            group, groups[number] = groups[number], Group({}, [])
            found = go_back(group.residuals.values(), [values[number] for values in filled], group.parameters)
            samples = [gradient if gradient is None or self._stackable else gradient[None] for gradient in found]
            reached.update(place for place, sample in enumerate(samples) if sample is not None)
            if self._summed:
                part = shares @ torch.cat([self._sample(samples, place).flatten(1) for place in self._summed], 1)
                total = part if total is None else total.add_(part)
            real = min(remaining, self._together)
            accumulator.add([self._sample(samples, place)[:real] for place in self._measured])
            remaining -= real
        sums = {} if total is None else self._split(total)
        means = zip(self._measured, accumulator.means, strict=True)
        sums |= {place: mean.to(cotangents[0].dtype) for place, mean in means if place not in sums}
        totals = [sums[place] if place in reached else None for place in range(len(self._parameters))]
        parameters = self._parameters.values()
        known = {id(p): total for p, total in zip(parameters, totals, strict=True) if total is not None}
        self._taken = (accumulator, known)
        return totals

    def _split(self, total: Tensor) -> dict[int, Tensor]:
        """The sums of the parameters' gradients, by place, from all of them in a row."""
        shapes = [list(self._parameters.values())[place].shape for place in self._summed]
        parts = torch.split(total, [shape.numel() for shape in shapes])
        return {place: part.view(shape) for place, part, shape in zip(self._summed, parts, shapes, strict=True)}

    def _sample(self, samples: Sequence[Tensor | None], place: int) -> Tensor:
        sample = samples[place]
        if sample is not None:
            return sample
        parameter = list(self._parameters.values())[place]
        return parameter.new_zeros(self._together, *parameter.shape)


class _Residuals(torch.autograd.Function):
    """Links the groups to the parameters: to autograd, the residuals are one function of these."""

    @staticmethod
    def forward(ctx: Any, batched: BatchedResiduals, names: list[str], points: Tensor, *parameters: Tensor) -> Any:
        with torch.enable_grad():
            groups = batched.evaluate(points)
        residuals = batched.in_order(groups)
        names += residuals
        ctx.batched, ctx.groups = batched, groups
        return tuple(residuals.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return None, None, None, *ctx.batched.gradients(ctx.groups, cotangents)
