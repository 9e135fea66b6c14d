"""What a scheme wrote into its signals, which are the tensors that the loss is computed from."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from phasecore.errors import PluginError
from phasecore.signals import Signals


def writes(values: Any) -> Any:
    """Return how often each array was written to, in the place of each; None where its framework does not count.

    Torch counts. Arrays of TensorFlow and JAX cannot be written to.

    Args:
        values: an array, or a mapping of such values.
    """
    if isinstance(values, Mapping):
        return {name: writes(value) for name, value in values.items()}
    with contextlib.suppress(RuntimeError):  # tensors of torch's inference mode are not counted
        return getattr(values, "_version", None)
    return None


def check_unwritten(where: str, signals: Signals, before: Any) -> None:
    """Refuse what changed its signals in place: a residual is that of the loss itself.

    Args:
        where: the function, as messages call it.
        signals: that it was given.
        before: `writes(signals.values)`, of before it was called.

    Raises:
        PluginError: naming function and signal.

    Example:
        >>> import numpy
        >>> signals = Signals({"residuals": {"pde": numpy.zeros(3)}}, numpy)
        >>> check_unwritten("weighting 'mine', update(signals, state)", signals, writes(signals.values))
    """
    for name, value in signals.values.items():
        if writes(value) != before[name]:
            raise PluginError(
                where,
                received=f"signal {name!r} changed in place",
                expected="arguments that stay as they were: the loss is computed from them",
                fix="Return new arrays, as by r = 2 * r in place of r *= 2.",
            )
