"""Callbacks of Keras beside the monitor."""

from __future__ import annotations

from typing import Any, final

import keras

from phasecore.errors import InputError


@final
class AtCaptures(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Hands the end of an epoch to a callback only where `PhaseMonitor` has measured something since the last one.

    The logs of other epochs repeat what was measured before, which counts as no improvement: so the `patience` of
    `EarlyStopping` and `ReduceLROnPlateau` counts captures here, not epochs. List it after the monitor.

    Args:
        callback: any of Keras'.

    Raises:
        InputError: for anything else; at the end of an epoch, without a monitor before it.

    Example:
        >>> AtCaptures(keras.callbacks.EarlyStopping("snr", mode="max", patience=3)).callback.patience
        3
    """

    def __init__(self, callback: Any) -> None:
        super().__init__()
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                "the callback of AtCaptures", received=type(callback).__name__, expected="a callback of Keras"
            )
        self.callback = callback
        self._seen: float | None = None

    def set_model(self, model: Any) -> None:
        """Hand it on."""
        super().set_model(model)
        self.callback.set_model(model)

    def set_params(self, params: Any) -> None:
        """Hand it on."""
        super().set_params(params)
        self.callback.set_params(params)

    def on_train_begin(self, logs: Any = None) -> None:
        """Hand it on."""
        self._seen = None
        self.callback.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Hand it on."""
        self.callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand it on if something was measured."""
        if logs is None or "iteration" not in logs:
            raise InputError(
                "callback AtCaptures",
                received=f"logs without an iteration: {sorted(logs or {})}",
                expected="those of a PhaseMonitor",
                fix="List the monitor before it.",
            )
        if logs["iteration"] != self._seen:
            self._seen = logs["iteration"]
            self.callback.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Hand it on."""
        self.callback.on_train_end(logs)
