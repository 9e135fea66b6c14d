"""Trained coefficients in tables and figures: their columns, what they are called, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phasecore.problems.coefficients import COLUMN

WIDE = 10.0
"""Ratio of the largest to the smallest value from which on a positive coefficient has a logarithmic scale."""


class Panel(NamedTuple):
    """A column of the history, its label and its scale."""

    column: str
    label: str
    scale: str


def coefficient_panels(histories: Sequence[Mapping[str, NDArray[Any]]]) -> list[Panel]:
    """Return a panel for each trained coefficient that any history has, in order of appearance.

    Example:
        >>> coefficient_panels([{"snr": np.ones(2), "coefficient_viscosity": np.asarray([0.1, 0.003])}])
        [Panel(column='coefficient_viscosity', label='trained viscosity', scale='log')]
    """
    columns = dict.fromkeys(name for history in histories for name in history if name.startswith(COLUMN))
    return [Panel(name, f"trained {name.removeprefix(COLUMN)}", _scale(name, histories)) for name in columns]


def _scale(name: str, histories: Sequence[Mapping[str, NDArray[Any]]]) -> str:
    values = np.concatenate([history[name] for history in histories if name in history])
    values = values[np.isfinite(values)]
    return "log" if values.size and 0 < values.min() * WIDE < values.max() else "linear"
