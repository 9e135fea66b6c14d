"""The one configuration of the detector, for offline and online use alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import final

from phasecore.errors import InputError


@final
@dataclass(frozen=True)
class DetectorConfiguration:
    """Lengths are decades of iterations, heights decades of the quantity, unless said otherwise.

    Args:
        smoothing: half width of the window in which numerators and denominators are summed.
        plateau: length that a rise has to last before it counts.
    """

    smoothing: float = 0.15
    plateau: float = 0.4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(
                    f"detector configuration, {field.name!r}",
                    received=repr(value),
                    expected="a positive number",
                )
