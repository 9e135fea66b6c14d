"""The contract of a probe: signals in, named scalars out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from phasecore.signals import Signals


class Probe(ABC):
    """Measures named scalars at a capture. Subclass it as a frozen dataclass whose fields are the probe's options.

    Class attributes:
        name: the name that it is registered under.
        requires: names of the signals that it reads (`phasecore.signals`).

    Example:
        >>> from phasecore.probes.adam_snr import AdamSNR
        >>> sorted(AdamSNR().requires)
        ['adam_moments']
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]

    @abstractmethod
    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return the scalars of one capture by the names under which the history keeps them.

        Args:
            signals: those required, all as numpy arrays, whatever the backend computes with.
        """
