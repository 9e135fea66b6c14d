"""Evaluating a model beside its training, without a trace."""

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
        ...     value = float(scope.get_current_value(variable))
        >>> value, len(scope.read)
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
def aside() -> Iterator[None]:
    """Leave random states and every Keras variable as they are: moving averages, metrics, weights.

    What is assigned inside is seen inside and forgotten at the end. On torch the buffers of its own modules are
    restored too, and gradients are recorded whatever the mode outside.

    Example:
        >>> variable = keras.Variable(1.0)
        >>> with aside():
        ...     _ = variable.assign(2.0)
        >>> float(variable.value)
        1.0
    """
    with random_state_kept(), _torch_left_alone(), OwnValues():
        yield


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


@contextlib.contextmanager
def _torch_left_alone() -> Iterator[None]:
    """Restore the buffers of every torch module that is called, wherever it hides, such as running statistics."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    kept: dict[int, tuple[Any, dict[str, Any], dict[str, Any]]] = {}

    def keep(module: Any, arguments: Any) -> None:
        if id(module) not in kept:
            buffers = dict(module.named_buffers(recurse=False))
            kept[id(module)] = module, buffers, {name: buffer.clone() for name, buffer in buffers.items()}

    hook = torch.nn.modules.module.register_module_forward_pre_hook(keep)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        hook.remove()
        with torch.no_grad():
            for module, buffers, values in kept.values():
                for name, buffer in buffers.items():
                    buffer.copy_(values[name])
                    setattr(module, name, buffer)
