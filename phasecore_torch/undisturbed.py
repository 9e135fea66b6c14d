"""Evaluating a model or a loss beside its training, without a trace."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

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
        >>> from torch import nn
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
