"""The processes of a training (`torch.distributed`), and what they tell one another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import torch
import torch.distributed
from torch import Tensor, nn

from phasecore.errors import InputError
from phasecore.signals import Reduction

SECONDS_TO_SAY_SO = 3.0


def processes() -> int:
    """Return in how many processes this training goes on.

    Example:
        >>> processes()
        1
    """
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def rank() -> int:
    """Return which of the processes this one is.

    Example:
        >>> rank(), is_first()
        (0, True)
    """
    return torch.distributed.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Return whether this process is the one that writes files and speaks."""
    return rank() == 0


def reduced(kind: Reduction, points: Tensor) -> Tensor:
    """Return a reduction over the points of all processes, see `phasecore.signals.Reduce`."""
    operations = torch.distributed.ReduceOp
    if kind == "maximum":
        value, operation = points.max(), operations.MAX
    elif kind == "minimum":
        value, operation = points.min(), operations.MIN
    else:
        value, operation = points.sum(), operations.SUM
    torch.distributed.all_reduce(value, operation)
    return value


def summed(values: Mapping[str, Tensor], factor: float = 1.0) -> dict[str, Tensor]:
    """Return the sums over processes, by name, of values times the factor of each process."""
    if processes() == 1 or not values:
        return dict(values)
    together = factor * torch.cat([value.flatten() for value in values.values()])
    torch.distributed.all_reduce(together)
    parts = torch.split(together, [value.numel() for value in values.values()])
    return {name: part.view_as(value) for part, (name, value) in zip(parts, values.items(), strict=True)}


def joined(own: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the rows of all processes, one after the other.

    Args:
        own: of this process, shape (n,).
        sizes: how many each process has.
    """
    filled = torch.cat([own, own.new_zeros(max(sizes) - len(own))])
    every = [torch.empty_like(filled) for _ in sizes]
    torch.distributed.all_gather(every, filled)
    return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])


def of_all(value: Any, group: Any = None) -> list[Any]:
    """Return what each process has, in order; values are pickled.

    Args:
        value: of this process.
        group: of the processes that are asked, as `torch.distributed` has them; None for all.
    """
    if processes() == 1:
        return [value]
    every: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(every, value, group)
    return every


def of_first(value: Any) -> Any:
    """Return what the first process has; values are pickled."""
    if processes() == 1:
        return value
    held = [value]
    torch.distributed.broadcast_object_list(held)
    return held[0]


@torch.no_grad()
def average_gradient(parameter: Tensor) -> None:
    """Put the mean over the processes in the place of the gradient that a parameter has; the mean of means is the same.

    Args:
        parameter: as `register_post_accumulate_grad_hook` hands it over.
    """
    if processes() > 1 and parameter.grad is not None:
        gradient = parameter.grad.detach()
        torch.distributed.all_reduce(gradient)
        gradient /= processes()


def refuse(where: str, *, received: str, expected: str, fix: str) -> NoReturn:
    """End a training that all processes refuse alike: one message is enough.

    Raises:
        InputError: in the first process.
        SystemExit: in the others.
    """
    if not is_first():
        # or whoever started them ends the first one before it has said so
        time.sleep(SECONDS_TO_SAY_SO)
        raise SystemExit(1)
    raise InputError(where, received=received, expected=expected, fix=fix)


def check_whole(model: object, parameters: Iterable[Tensor] = ()) -> None:
    """Refuse a model of whose parameters each process has a part.

    Args:
        model: any.
        parameters: further ones.

    Raises:
        InputError: for such a model, in the first process; the others end.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    wrapped = any(isinstance(module, FullyShardedDataParallel) for module in modules)
    own = itertools.chain(parameters, *(module.parameters(recurse=False) for module in modules))
    if wrapped or any(isinstance(parameter, DTensor) for parameter in own):
        refuse(
            "a model in several processes",
            received="parameters of which each process has a part, as of FullyShardedDataParallel",
            expected="all parameters in each process: derivatives and gradients of batches are taken of them",
            fix="Use DistributedDataParallel.",
        )


def check_policy(policy: object) -> None:
    """Refuse to let a policy act in several processes: a line search, for one, would follow each process's own loss.

    Raises:
        InputError: so.
    """
    if policy is not None and processes() > 1:
        raise InputError(
            "argument 'policy'",
            received=f"a policy in {processes()} processes",
            expected="none there: what policies do is not carried out in several processes",
            fix="Leave it out, or train in one process.",
        )
