"""Evaluating a model beside its training, without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from phasecore_keras.scopes import OwnValues, random_state_kept


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave random states and every Keras variable as they are: moving averages, metrics, weights.

    What is assigned inside is seen inside and forgotten at the end. On torch the buffers of its own modules are
    restored too, and gradients are recorded whatever the mode outside.

    Example:
        >>> variable = keras.Variable(1.0)
        >>> with undisturbed():
        ...     _ = variable.assign(2.0)
        >>> float(keras.ops.convert_to_numpy(variable.value))
        1.0
    """
    with random_state_kept(), _torch_left_alone(), OwnValues():
        yield


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
