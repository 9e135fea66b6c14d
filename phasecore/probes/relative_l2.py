"""The error against the reference solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from phasecore.probes.base import Probe
from phasecore.problems.base import relative_l2_error
from phasecore.signals import FIELDS, REFERENCE_FIELDS, Signals


@final
@dataclass(frozen=True)
class RelativeL2Error(Probe):
    """`norm2(u - u_ref) / norm2(u_ref)` on the problem's evaluation grid, over all fields together.

    Example:
        >>> import numpy
        >>> one, two = numpy.asarray([1.0]), numpy.asarray([2.0])
        >>> RelativeL2Error().measure(Signals({"fields": {"u": one}, "reference_fields": {"u": two}}, numpy))
        {'relative_l2_error': 0.5}
    """

    name: ClassVar[str] = "relative_l2_error"
    requires: ClassVar[frozenset[str]] = frozenset({FIELDS, REFERENCE_FIELDS})

    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return relative_l2_error."""
        return {"relative_l2_error": relative_l2_error(signals[FIELDS], signals[REFERENCE_FIELDS])}
