"""Evaluating a model beside its training, without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Leave random states and every Keras variable as they are: moving averages, metrics, weights.

    What is assigned inside is seen inside and forgotten at the end.

    Example:
        >>> variable = keras.Variable(1.0)
        >>> with aside():
        ...     _ = variable.assign(2.0)
        >>> float(variable.value)
        1.0
    """
    with random_state_kept(), keras.StatelessScope(collect_losses=True):
        yield


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    """Leave the global random state as it is, which dropout draws from where Keras runs on torch."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))
