"""Scopes in which variables keep their values, and random states theirs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from typing import Any, final

import keras
import numpy as np

from phasecore_keras import internals


@final
class OwnValues(keras.StatelessScope):  # type: ignore[misc, unused-ignore]
    """A stateless scope in which a variable that was given no value has its own, whoever asks for it.

    Keras itself answers None then, which its regularizers take for a value.

    Args:
        mapping: pairs of variables and the values that they have inside.

    Attributes:
        read: the other variables that were read inside, by identity.

    Example:
        >>> variable = keras.Variable(1.0)
        >>> with OwnValues() as scope:
        ...     value = scope.get_current_value(variable)
        >>> float(keras.ops.convert_to_numpy(value)), len(scope.read)
        (1.0, 1)
    """

    def __init__(self, mapping: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__(list(mapping), collect_losses=True)
        self.read: dict[int, Any] = {}

    def get_current_value(self, variable: Any) -> Any:
        """Return the value that a variable has inside, None only for one that has none yet."""
        value = super().get_current_value(variable)
        if value is not None:
            return value
        own = internals.own_value(variable)
        if own is not None:
            self.read[id(variable)] = variable
        return own


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the global random states as they are: Python's, numpy's, and that which dropout draws from on torch."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with _torch_random_state_kept():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _torch_random_state_kept() -> contextlib.AbstractContextManager[None]:
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))
