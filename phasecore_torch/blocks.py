"""Residuals block by block: what one evaluation touches stays in the cache; compiled, if asked for."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states

from phasecore.arguments import is_whole
from phasecore.errors import InputError
from phasecore_torch.compiling import Compiled
from phasecore_torch.device import points_in_cache, threads_of
from phasecore_torch.gradients import leaves
from phasecore_torch.memory import Anchors
from phasecore_torch.undisturbed import undisturbed
from phasecore_torch.wrapped import passing_by

Evaluate = Callable[..., dict[str, Tensor]]
Again = Callable[[], dict[str, Tensor]]


@final
class Blocks:
    """Evaluates a function of points, row by row, in blocks of one size.

    Autograd goes back block by block too, so the loss is an ordinary one: `loss.backward()` is all that it needs.

    Compiled on a CPU, a block is a stack of as many parts as torch has threads: each thread then multiplies matrices of
    its own, which wastes less time than sharing each of them, and what it touches is to suit the cache of its core.

    Args:
        evaluate: maps points (n, dimension), and parameters to use in place of the model's own, by name, to values by
            name, each of shape (n,).
        model: chooses the size of the blocks: its widest layer has `device.CACHED_NUMBERS` activations in one, or in
            a part.
        size: number of points of a block instead; on accelerators everything is one block by default.
        compiled: compile the evaluation with `torch.compile`, at its first use. Where that fails, one warning says why,
            and the evaluation goes on without.
        stackable: whether the evaluation can be vectorized over parts with parameters of their own.
        recompute: keep nothing of a block for the backward pass, which then evaluates it again, as it was.
        stateful: what an evaluation may change beside the model; evaluating again leaves no second trace.

    Attributes:
        width: outputs of the model's widest layer.

    Raises:
        InputError: for a size that is not a positive integer.

    Example:
        >>> blocks = Blocks(lambda points: {"r": points.sum(1)}, None, size=2)
        >>> blocks(torch.ones(5, 3))["r"]
        tensor([3., 3., 3., 3., 3.])
    """

    def __init__(
        self,
        evaluate: Evaluate,
        model: object,
        size: int | None = None,
        *,
        compiled: bool = False,
        stackable: bool = False,
        recompute: bool = False,
        stateful: Sequence[object] = (),
    ) -> None:
        if size is not None and not is_whole(size):
            raise InputError("argument 'block'", received=repr(size), expected="a positive integer, or None")
        self.size = size
        self.width = _width(model)
        self._recompute = recompute
        self._stateful = (model, *stateful)
        self._anchors = Anchors()
        self._stacked = compiled and stackable
        self._model = model
        self._evaluate = evaluate
        self._apply = Compiled(
            self._evaluate_stack if self._stacked else evaluate,
            "residuals are evaluated",
            parameters=model.parameters() if isinstance(model, nn.Module) else (),
            active=compiled,
        )

    @property
    def compiled(self) -> bool:
        """Whether the evaluation is compiled, and that has not failed."""
        return self._apply.active

    @property
    def compile_seconds(self) -> float | None:
        """How long the first compiled evaluation took, or None."""
        return self._apply.seconds

    def __call__(self, points: Tensor) -> dict[str, Tensor]:
        """Return the values at `points`, shape (n,) each."""
        count = len(points)
        if torch.compiler.is_compiling() or not count:
            return self._evaluate(points)
        values = self._in_blocks(points, count, self.compiled)
        self._anchors.drop(points)
        return values

    def uncompiled(self, points: Tensor) -> dict[str, Tensor]:
        """Return the values at `points`, shape (n,) each, by a graph that can be gone back through again and by vmap.

        Compiled code forbids either: its backward pass gives away what it has kept.
        """
        return self._in_blocks(points, len(points), False) if len(points) else self._evaluate(points)

    def _in_blocks(self, points: Tensor, count: int, compiled: bool) -> dict[str, Tensor]:
        evaluate: Evaluate = self._apply if compiled else self._evaluate
        if self._recompute and torch.is_grad_enabled():
            evaluate = functools.partial(self._recomputed, evaluate, self._trained(points[:2]), not compiled)
        parts = threads_of(points) if compiled and self._stacked else 1
        blocks = math.ceil(count / (self.size or parts * points_in_cache(points, self.width)))
        if not compiled:
            with passing_by(self._model):
                return _joined([evaluate(block) for block in torch.split(points, math.ceil(count / blocks))], count)
        rows = math.ceil(count / (blocks * parts))
        # filled up, so that all blocks have one shape and are compiled once
        filled = torch.cat([points, points[-1:].expand(blocks * parts * rows - count, -1)])
        shape = (parts, rows, -1) if self._stacked else (rows, -1)
        return _joined([evaluate(block.view(shape)) for block in torch.split(filled, parts * rows)], count)

    def _trained(self, points: Tensor) -> list[Tensor]:
        """All that the values depend on now, as the graph of a few points tells."""
        with undisturbed(*self._stateful):
            return leaves(list(self._evaluate(points).values()))

    def _recomputed(
        self, evaluate: Evaluate, trained: Sequence[Tensor], retain: bool, points: Tensor
    ) -> dict[str, Tensor]:
        drawn_from, drawn_from_devices = torch.get_rng_state(), get_device_states(points)

        def again() -> dict[str, Tensor]:
            with passing_by(self._model, from_the_first=True), undisturbed(*self._stateful):
                torch.set_rng_state(drawn_from)
                set_device_states(*drawn_from_devices)
                return evaluate(points)

        names: list[str] = []
        first = functools.partial(evaluate, points)
        values = _Recomputed.apply(first, again, retain, names, *trained)  # type: ignore[no-untyped-call]
        return dict(zip(names, values, strict=True))

    def _evaluate_stack(self, points: Tensor) -> dict[str, Tensor]:
        """Evaluate points of shape (parts, rows, dimension): shape (parts, rows) each."""
        assert isinstance(self._model, nn.Module)
        parameters = {name: p.expand(len(points), *p.shape) for name, p in self._model.named_parameters()}
        values: dict[str, Tensor] = torch.func.vmap(self._evaluate)(points, parameters)
        return values


class _Recomputed(torch.autograd.Function):
    """A block whose backward pass evaluates it again: to autograd, a function of all that it was computed from."""

    @staticmethod
    def forward(ctx: Any, first: Again, again: Again, retain: bool, names: list[str], *trained: Tensor) -> Any:
        with torch.no_grad():
            values = first()
        names += values
        # what the user computed once for all blocks is gone back through once for each; compiled code forbids it
        ctx.again, ctx.retain = again, retain
        ctx.save_for_backward(*trained)
        return tuple(values.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        with torch.enable_grad():
            values = ctx.again()
        pairs = [pair for pair in zip(values.values(), cotangents, strict=True) if pair[0].requires_grad]
        outputs, own = zip(*pairs, strict=True)
        found = torch.autograd.grad(outputs, ctx.saved_tensors, own, retain_graph=ctx.retain, allow_unused=True)
        return None, None, None, None, *found


def is_stackable(evaluate: Evaluate, model: object, points: Tensor) -> bool:
    """Return whether an evaluation can be vectorized over parts that have parameters of their own.

    Args:
        evaluate: see `Blocks`.
        model: whose evaluation.
        points: a few of them, shape (n, dimension).
    """
    if not isinstance(model, nn.Module):
        return False
    own = dict(model.named_parameters())
    stack = torch.stack([points, points.flip(0)])
    try:
        # torch warns where it would go through the parts one by one
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")
            expected = [evaluate(part) for part in stack]
            found = torch.func.vmap(evaluate)(stack, {name: p.expand(2, *p.shape) for name, p in own.items()})
    except Exception:
        return False
    tolerance = 1e-3 if points.dtype in (torch.float32, torch.float64) else 0.1
    return all(
        torch.allclose(values, torch.stack([part[name] for part in expected]), rtol=tolerance, equal_nan=True)
        for name, values in found.items()
    )


def _joined(blocks: list[dict[str, Tensor]], count: int) -> dict[str, Tensor]:
    if len(blocks) == 1 and all(values.shape == (count,) for values in blocks[0].values()):
        return blocks[0]
    return {name: torch.cat([block[name].flatten() for block in blocks])[:count] for name in blocks[0]}


def _width(model: object) -> int:
    """The largest number of outputs of a layer."""
    shapes = [p.shape for p in model.parameters() if p.ndim > 1] if isinstance(model, nn.Module) else []
    return max((shape[0] for shape in shapes), default=128)
