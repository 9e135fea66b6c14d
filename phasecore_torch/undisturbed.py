"""Evaluating a model or a loss beside its training, without a trace."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from phasecore_torch.keeping import Keeper


@contextlib.contextmanager
def undisturbed(*owners: Any) -> Iterator[Keeper]:
    """Leave as it was whatever an evaluation changes: buffers, counters, parameters, random states.

    That of torch, numpy and Python itself, and of what the owners hold or read: batch normalization, layers that count
    their calls or renormalize their weights, a generator of their own (see `phasecore_torch.keeping`).

    Args:
        owners: models, losses or anything else that is evaluated within.

    Yields:
        The keeper, which can be given more owners before they are evaluated.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
        >>> state = torch.random.get_rng_state()
        >>> with undisturbed(model):
        ...     _ = model(torch.rand(5, 2))
        >>> model[0].running_mean, torch.equal(torch.random.get_rng_state(), state)
        (tensor([0., 0.]), True)
    """
    keeper = Keeper()
    for owner in owners:
        keeper.keep(owner)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=devices):
            yield keeper
    finally:
        keeper.restore()
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


def modules_called(keeper: Keeper, function: Callable[..., Any], *args: Any) -> tuple[list[nn.Module], Any]:
    """Return the modules that a function calls, wherever they hide, and what it returns.

    What is compiled within runs as it is, so that it is seen.

    Args:
        keeper: keeps the modules before they run.
        function: that is called.
        args: with these arguments.
    """
    called: dict[int, nn.Module] = {}

    def entered(module: nn.Module, inputs: Any) -> None:
        called[id(module)] = module
        keeper.keep(module)

    handle = register_module_forward_pre_hook(entered)
    set_stance = getattr(torch.compiler, "set_stance", None)
    try:
        with contextlib.nullcontext() if set_stance is None else set_stance("force_eager"):
            returned = function(*args)
    finally:
        handle.remove()
    return list(called.values()), returned
