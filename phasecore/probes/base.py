"""The contract of a probe: signals in, named scalars out."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from phasecore.arguments import is_whole
from phasecore.errors import InputError
from phasecore.signals import Signals


class Probe(ABC):
    """Measures named scalars at a capture. Subclass it as a frozen dataclass whose fields are the probe's options.

    Class attributes:
        name: what it calls itself, as a rule the name that it is registered under.
        requires: names of the signals that it reads (`phasecore.signals`).

    Attributes:
        every: iterations between its measurements, for a probe that is dearer or cheaper than others; None for those
            of the training's captures. Set it in a class for all of its probes, or for one by `paced`.

    Example:
        >>> from phasecore.probes.adam_snr import AdamSNR
        >>> sorted(AdamSNR().requires)
        ['adam_moments']
    """

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    every: int | None = None

    def paced(self, every: int) -> Self:
        """Return the same probe with a schedule of its own, as the option `every` of a specification makes it.

        Args:
            every: iterations between its measurements, once they are regular, see `phasecore.recording.schedule`.

        Raises:
            InputError: if they are not a positive integer.

        Example:
            >>> from phasecore.probes.adam_snr import AdamSNR
            >>> AdamSNR().paced(1).every
            1
        """
        if not is_whole(every):
            raise InputError(
                f"option 'every' of probe {self.name!r}", received=repr(every), expected="a positive integer"
            )
        paced = copy.copy(self)
        object.__setattr__(paced, "every", every)
        return paced

    @abstractmethod
    def measure(self, signals: Signals) -> Mapping[str, float]:
        """Return the scalars of one capture by the names under which the history keeps them.

        Args:
            signals: those required, all as numpy arrays, whatever the backend computes with.
        """
