"""What is measured of one stored run: phases, moments of steepest change, levels around a moment."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.phases import Phase, Timeline, detect

Floats = NDArray[np.float64]
LEAST_CONFIDENCE = 0.5
"""From which on a phase counts as begun."""

WINDOW = 0.5
"""Decades of iterations before and after a moment that its levels and slopes are taken over."""

SMOOTHING = 0.2
"""Decades over which a slope is fitted where the steepest one is looked for."""

LEAST_CAPTURES = 4


@dataclass(frozen=True)
class Measured:
    """A stored run with its phases, which are found anew by the detector of now.

    Attributes:
        kept: the run as it is stored.
    """

    kept: Mapping[str, Any]

    @property
    def problem(self) -> str:
        """Name of the problem."""
        return str(self.kept["configuration"]["problem"])

    @property
    def scheme(self) -> str:
        """Specification of the weighting."""
        return str(self.kept["configuration"]["weighting"])

    @property
    def seed(self) -> int:
        """Seed of the points and the network."""
        return int(self.kept["configuration"]["settings"]["seed"])

    @functools.cached_property
    def timeline(self) -> Timeline:
        """The phases in the whole curve."""
        return detect(self.kept["history"])

    def begins(self, phase: Phase) -> float:
        """Return the iteration at which a phase begins, infinity where it does not."""
        for transition in self.timeline.transitions:
            if transition.phase is phase and transition.confidence >= LEAST_CONFIDENCE:
                return float(transition.iteration)
        return math.inf

    @property
    def total_diffusion(self) -> float:
        """The iteration at which total diffusion begins, infinity where it does not."""
        return self.begins(Phase.TOTAL_DIFFUSION)

    @property
    def settled(self) -> float:
        """The iteration from which steepest changes are looked for: the end of fitting, or 30 where it is not found."""
        found = self.begins(Phase.DIFFUSION)
        return found if math.isfinite(found) else 30.0

    @property
    def last(self) -> float:
        """The last iteration."""
        return float(self.iteration[-1])

    @functools.cached_property
    def iteration(self) -> Floats:
        """The captures' iterations."""
        return np.asarray(self.kept["history"]["iteration"], dtype=np.float64)

    def has(self, name: str) -> bool:
        """Say whether a column was recorded."""
        return name in self.kept["history"]

    def column(self, name: str) -> Floats:
        """Return a column, NaN where there is no number."""
        return np.asarray(self.kept["history"][name], dtype=np.float64)

    def final(self, name: str) -> float:
        """Return the median over the last tenth of the iterations: single captures oscillate."""
        late = self.column(name)[self.iteration >= 0.9 * self.last]
        return float(np.nanmedian(late)) if np.isfinite(late).any() else math.nan

    def level(self, name: str, low: float, high: float) -> float:
        """Return the median of a column over the iterations from `low` to `high`, NaN with fewer than 4 captures."""
        chosen = self.column(name)[(self.iteration >= low) & (self.iteration <= high)]
        finite = chosen[np.isfinite(chosen)]
        return float(np.median(finite)) if len(finite) >= LEAST_CAPTURES else math.nan

    def around(self, name: str, moment: float) -> tuple[float, float]:
        """Return the levels in the half decades before and after a moment."""
        factor = 10**WINDOW
        return self.level(name, moment / factor, moment), self.level(name, moment, moment * factor)

    def slopes(self, name: str, moment: float) -> tuple[float, float]:
        """Return the slopes of log10 of a column against log10 of iterations, half a decade before and after."""
        return self._slope(name, moment / 10**WINDOW, moment), self._slope(name, moment, moment * 10**WINDOW)

    def steepest(self, name: str, *, falls: bool, logarithm: bool = True) -> float:
        """Return the iteration at which a column changes fastest, in the sense asked for; NaN if it never does.

        Slopes are those of straight lines, on a logarithmic axis of iterations, through the captures within 0.2
        decades, from the end of fitting on.
        """
        moments = np.arange(math.log10(self.settled), math.log10(self.last) - SMOOTHING / 2, 0.02)
        slopes = self._slopes(name, moments - SMOOTHING / 2, moments + SMOOTHING / 2, logarithm=logarithm)
        signed = -slopes if falls else slopes
        if not np.isfinite(signed).any() or np.nanmax(signed) <= 0:
            return math.nan
        return float(10 ** moments[int(np.nanargmax(signed))])

    def random_distance(self, moment: float) -> float:
        """Return the mean distance in decades of a moment from any other after fitting, even on a log axis.

        Example:
            >>> run = Measured({"history": {"iteration": [30, 3000], "snr": [1.0, 1.0]}})
            >>> round(run.random_distance(300.0), 3)
            0.5
        """
        low, at, high = (math.log10(value) for value in (self.settled, moment, self.last))
        inside = min(max(at, low), high)
        mean = ((inside - low) ** 2 + (high - inside) ** 2) / 2 / (high - low)
        return mean + abs(at - inside)

    def _slope(self, name: str, low: float, high: float) -> float:
        if not 0 < low < high < math.inf:
            return math.nan
        return float(self._slopes(name, np.log10([low]), np.log10([high]), logarithm=True)[0])

    def _slopes(self, name: str, low: Floats, high: Floats, *, logarithm: bool) -> Floats:
        """Return the slopes of straight lines between decimal logarithms of iterations; NaN with few captures there."""
        x, y = np.log10(self.iteration), self.column(name)
        valid = np.isfinite(y) & (y > 0) if logarithm else np.isfinite(y)
        x, y = x[valid], np.log10(y[valid]) if logarithm else y[valid]
        first, end = np.searchsorted(x, low - 1e-9), np.searchsorted(x, high + 1e-9)
        sums = np.cumsum([np.zeros_like(x), x, y, x * x, x * y], axis=1)
        padded = np.concatenate([np.zeros((5, 1)), sums], axis=1)
        _, sx, sy, sxx, sxy = padded[:, end] - padded[:, first]
        count = end - first
        spread = count * sxx - sx**2
        enough = (count >= LEAST_CAPTURES) & (spread > (count * (high - low)) ** 2 / 24)
        return np.asarray(np.where(enough, (count * sxy - sx * sy) / np.where(enough, spread, 1.0), math.nan))


def distance(first: float, second: float) -> float:
    """Return the distance of two iterations in decades, NaN unless both are there.

    Example:
        >>> distance(100.0, 1000.0)
        1.0
    """
    if not (0 < first < math.inf and 0 < second < math.inf):
        return math.nan
    return abs(math.log10(first / second))
