"""Evaluating a model beside its training, without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def undisturbed(model: nn.Module | Callable[..., Any]) -> Iterator[None]:
    """Leave the random state (dropout) and a module's buffers (batch normalization) as they were.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
        >>> state = torch.random.get_rng_state()
        >>> with undisturbed(model):
        ...     _ = model(torch.rand(5, 2))
        >>> model[0].running_mean, torch.equal(torch.random.get_rng_state(), state)
        (tensor([0., 0.]), True)
    """
    module = model if isinstance(model, nn.Module) else None
    saved = [] if module is None else [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=devices):
        yield
    with torch.no_grad():
        for buffer, value in saved:
            if not torch.equal(buffer, value):
                buffer.copy_(value)
