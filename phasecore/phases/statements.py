"""Evidence in words and numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from phasecore.phases.channels import CHANNELS, RELATIVE_L2_ERROR, RESIDUAL_ORDER, TRAINING_LOSS
from phasecore.phases.timeline import Evidence

FloatArray = npt.NDArray[np.float64]

NAMES = (
    "SNR",
    "median SNR of the layers",
    "Adam SNR",
    "residual order",
    "training loss",
    "relative error",
)
HARDLY = 0.05


def evidence_of(table: FloatArray) -> tuple[Evidence, ...]:
    """Put a table of evidence into words, the weightiest first.

    Args:
        table: log odds, level before, level after and logarithmic time of the change, one row per quantity of
            `CHANNELS`, shape `(6, 4)`; rows without log odds are left out.
    """
    rows = [
        Evidence(CHANNELS[place], statement(place, before, after, time), float(odds))
        for place, (odds, before, after, time) in enumerate(table.tolist())
        if not math.isnan(odds)
    ]
    return tuple(sorted(rows, key=lambda item: -abs(item.log_odds)))


def statement(place: int, before: float, after: float, time: float) -> str:
    """Say what one quantity did.

    Args:
        place: of the quantity in `CHANNELS`.
        before: level of its channel before the change.
        after: level after it.
        time: logarithmic time of the change.

    Example:
        >>> statement(0, -2.1, 0.28, 4.28)
        'SNR rose 2.4 decades from 0.0079 to 1.9 near 19 100'
        >>> statement(3, -0.17, 0.29, 4.3)
        'residual order rose from 0.56 to 0.89 near 20 000, making up 75% of what it lacked'
    """
    name, when = NAMES[place], f"near {spaced(10**time)}"
    if place == RESIDUAL_ORDER:
        low, high = (1.0 / math.sqrt(1.0 + 10.0 ** (-2.0 * level)) for level in (before, after))
        if abs(after - before) < HARDLY:
            return f"{name} hardly changed {when}: {low:.2f} to {high:.2f}"
        made_up = f", making up {(high - low) / (1.0 - low):.0%} of what it lacked" if high > low else ""
        return f"{name} {'rose' if high > low else 'fell'} from {low:.2f} to {high:.2f} {when}{made_up}"
    if place in (TRAINING_LOSS, RELATIVE_L2_ERROR):
        before, after = -before, -after
    change = after - before
    if abs(change) < HARDLY:
        return f"{name} hardly changed {when}: {10**before:.2g} to {10**after:.2g}"
    verb = "rose" if change > 0 else "fell"
    return f"{name} {verb} {abs(change):.1f} decades from {10**before:.2g} to {10**after:.2g} {when}"


def spaced(number: float) -> str:
    """Return a number to three digits, with spaces between thousands.

    Example:
        >>> spaced(19054.6)
        '19 100'
    """
    digits = max(len(str(int(number))) - 3, 0)
    return f"{round(number, -digits):,.0f}".replace(",", " ")
