"""One capture of a training, as far as it needs no framework: the half that the adapters' captures share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from phasecore.monitoring.measuring import Measuring
from phasecore.monitoring.monitor import choose_probes
from phasecore.monitoring.sources import Source
from phasecore.probes import Probe
from phasecore.problems.coefficients import columns_of_coefficients
from phasecore.signals import ADAM_LEARNING_RATES, ADAM_MOMENTS

Probes = Sequence[str | Probe]


class Capture(ABC):
    """Measures probes at the current state of a training, without changing it. Base class of those of the adapters.

    Class attributes:
        backend: what supplies signals, as messages call it.
        fix: what to do where a probe requires another signal.

    Attributes:
        probes: what is measured.
        points: number of points that are cut into batches, as it was at the start.
    """

    backend: ClassVar[str]
    fix: ClassVar[str]
    probes: list[Probe]
    points: int

    @abstractmethod
    def _values(self, required: frozenset[str]) -> dict[str, Any]:
        """Return the required signals at the current state, as numpy arrays."""

    @abstractmethod
    def _coefficients(self) -> Mapping[str, Any]:
        """Return the values of trained coefficients now, by name."""

    def _begin(self, source: Source, probes: Probes | None, *, keeps_adam: bool, keeps_learning_rates: bool) -> None:
        supplied = source.supplies
        supplied |= {ADAM_MOMENTS} if keeps_adam else frozenset()
        supplied |= {ADAM_LEARNING_RATES} if keeps_learning_rates else frozenset()
        self.probes = choose_probes(probes, supplied, self.backend, fix=self.fix)
        self._measuring = Measuring(self.probes)
        self.points = source.batched_points
        source.prepare(self._measuring.required())

    def measure(self, iteration: int | None = None, due: Sequence[Probe] | None = None) -> dict[str, float]:
        """Return the scalars of the probes at the current state, and the values of trained coefficients.

        Args:
            iteration: optimizer steps done, for messages.
            due: which of `probes`; None for all.
        """
        return self._row(self._values(self._measuring.required(due)), iteration, due)

    def _row(self, values: dict[str, Any], iteration: int | None, due: Sequence[Probe] | None) -> dict[str, float]:
        """The scalars of the probes, after those of trained coefficients."""
        return {**columns_of_coefficients(self._coefficients()), **self._measuring.row(values, iteration, due)}
