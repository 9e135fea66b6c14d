"""Callbacks of Keras beside the monitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import keras

from phasecore.errors import InputError

_CAPTURED = "captured_in_epoch"
"""Attribute of a model that holds what its monitors captured in the epoch that ends."""

NOT_LOGGED = ("learning_rate", "seconds")
"""Of a row, what is no statistic: Keras' own callbacks log learning rates, of the epoch's end."""

Row = Mapping[str, float]


def note_captured(model: Any, monitor: object, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Say what a monitor captured in the epoch that ends, for the `AtCaptures` that are listed after it.

    Args:
        model: that is trained.
        monitor: of which there may be several.
        rows: captured in that epoch, each with what was measured then.
        names: of all that the monitor measures.
    """
    vars(model).setdefault(_CAPTURED, {})[id(monitor)] = list(rows), frozenset(names)


def forget_captured(model: Any) -> None:
    """Undo `note_captured`, where a training begins or ends."""
    vars(model).pop(_CAPTURED, None)


def logged(row: Row) -> dict[str, float]:
    """Return what the logs have of a row: its statistics, and their iteration.

    Example:
        >>> logged({"iteration": 3, "learning_rate": 0.1, "seconds": 2.0, "snr": 0.5})
        {'iteration': 3, 'snr': 0.5}
    """
    return {name: value for name, value in row.items() if name not in NOT_LOGGED}


def joined(rows: Sequence[Row]) -> dict[str, float]:
    """Return of each quantity what was measured of it last; probes have schedules of their own.

    Example:
        >>> joined([{"iteration": 3, "snr": 0.5}, {"iteration": 4, "training_loss": 2.0}])
        {'iteration': 4, 'snr': 0.5, 'training_loss': 2.0}
    """
    return {name: value for row in rows for name, value in row.items()}


@final
class AtCaptures(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Hands the end of an epoch to a callback only where `PhaseMonitor` has captured in it what the callback watches.

    The logs of other epochs repeat what was measured before, which counts as no improvement: so the `patience` of
    `EarlyStopping` and `ReduceLROnPlateau` counts captures here, not epochs. List it after the monitor.

    What a callback watches is its `monitor`; a capture of other probes alone, which have schedules of their own, is
    none for it. To a callback that watches nothing of the monitor's each capture counts. The logs that it is handed are
    those of the epoch with the values of that capture, "iteration" among them: of several in an epoch the last, as the
    network is the one at the end of the epoch. All else that a callback hears of, such as batches, is handed on.

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
        for name in dir(keras.callbacks.Callback):
            if name.startswith("on_") and name != "on_epoch_end":
                setattr(self, name, getattr(callback, name))

    def set_model(self, model: Any) -> None:
        """Hand it on."""
        super().set_model(model)
        self.callback.set_model(model)

    def set_params(self, params: Any) -> None:
        """Hand it on."""
        super().set_params(params)
        self.callback.set_params(params)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand it on, with the last row that has what is watched, if there is any."""
        captured = vars(self.model).get(_CAPTURED)
        if not captured or logs is None:
            raise InputError(
                "callback AtCaptures",
                received=f"logs without an iteration: {sorted(logs or {})}",
                expected="those of a PhaseMonitor",
                fix="List the monitor before it.",
            )
        watched = getattr(self.callback, "monitor", None)
        of_some = any(watched in names for _, names in captured.values())
        rows = [row for rows, _ in captured.values() for row in rows if not of_some or watched in row]
        if rows:
            handed = {**logs, **rows[-1]}
            self.callback.on_epoch_end(epoch, handed)
            logs.update({name: value for name, value in handed.items() if name not in rows[-1]})
