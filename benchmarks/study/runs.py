"""The runs that a page is made of: those of one preset for each problem, measured."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from benchmarks.pool import Run, SetUps, Steps, planned, result
from benchmarks.study.measures import Measured


@functools.cache
def measured(run: Run) -> Measured | None:
    """Return a run that is there and did not diverge, read once."""
    kept = result(run)
    return Measured(kept) if kept is not None and "history" in kept else None


@dataclass(frozen=True)
class Runs:
    """The runs of a study.

    Attributes:
        presets: the preset of each problem.

    Example:
        >>> Runs({"burgers": "phases"}).planned[0]
        Run(problem='burgers', weighting='uniform', seed=0, steps='all points', preset='phases')
    """

    presets: Mapping[str, str]

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of the problems."""
        return tuple(self.presets)

    @property
    def planned(self) -> tuple[Run, ...]:
        """All runs, those too that are not there."""
        every = (run for set_ups in get_args(SetUps) for run in planned(set_ups))
        return tuple(run for run in every if self.presets.get(run.problem) == run.preset)

    def group(self, problem: str, scheme: str, steps: Steps = "all points") -> list[Measured]:
        """Return the runs of a problem that are there, of a weighting and a kind of steps, by seed."""
        runs = [run for run in self.planned if (run.problem, run.weighting, run.steps) == (problem, scheme, steps)]
        found = [measured(run) for run in sorted(runs, key=lambda run: run.seed)]
        return [run for run in found if run is not None]

    def of(self, problem: str) -> list[Measured]:
        """Return the runs of a problem that are there and take steps on all points, of all schemes."""
        schemes = dict.fromkeys(run.weighting for run in self.planned)
        return [run for scheme in schemes for run in self.group(problem, scheme)]
