"""Comparing runs of one problem under several weightings: what to train, and what to read off each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Acted, Outcome, Training
from phasecore.phases import Phase, Timeline
from phasecore.phases.rows import columns_of, recorded_columns
from phasecore.recording.configuration import configuration_of, trained
from phasecore.recording.outcome import last
from phasecore.reporting.histories import curve_of
from phasecore.reporting.moved import moved
from phasecore.reporting.naming import names_of

Columns = Mapping[str, NDArray[np.float64]]


@final
@dataclass(frozen=True)
class Compared:
    """One run of a comparison.

    Attributes:
        training: how it was trained.
        outcome: how it ended, or how far it came.
        columns: its history, each column of shape (captures,).
        failure: why it could not go on; empty where it could.
        group: what it has in common with those that differ by their seed alone, in words; by default the weighting.
    """

    training: Training
    outcome: Outcome
    columns: Columns
    failure: str = ""
    group: str = ""

    @classmethod
    def of(cls, training: Training, outcome: Outcome, failure: str = "") -> Compared:
        """Return a run of which the outcome holds the history."""
        return cls(training, outcome, columns_of(outcome.rows), failure)

    @property
    def weighting(self) -> str:
        """The specification of the weighting, and whatever else but the seed tells the runs apart."""
        return self.group or self.training.scheme_name

    @property
    def seed(self) -> int:
        """The seed of the points and the network."""
        return self.training.settings.seed

    @property
    def trained(self) -> Mapping[str, Any]:
        """All that was trained, the seed apart."""
        return trained(configuration_of(self.training))

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to the end."""
        return not self.failure

    @property
    def timeline(self) -> Timeline:
        """The phases found in the whole history."""
        return self.outcome.timeline

    @property
    def error(self) -> float:
        """The relative L2 error of the final network, NaN where there is none."""
        error: float | None = self.outcome.relative_l2_error
        return math.nan if error is None or self.failure else error

    @property
    def seconds(self) -> float:
        """The training time, NaN where it is not known."""
        return self.outcome.seconds

    @property
    def actions(self) -> Sequence[Acted]:
        """What policies had done, in order."""
        return self.outcome.actions

    def final(self, name: str) -> float:
        """Return what was measured last of a column, NaN if that is no number, or nothing was measured."""
        return last(self.outcome.rows, name)

    def curve(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return iterations and values of the captures that have a column, NaN where it is no number there."""
        wanted = ("iteration", name)
        recorded = recorded_columns({key: row[key] for key in wanted if key in row} for row in self.outcome.rows)
        return curve_of(recorded or self.columns, name)

    def moved(self) -> list[str]:
        """Return a sentence for each transition that was announced during the training and lies elsewhere."""
        return moved(self.outcome.timeline, self.outcome.rows)

    def seconds_at(self, iteration: int) -> float:
        """Return the training time at an iteration, in seconds, between captures by linear interpolation."""
        if "seconds" not in self.columns:
            return math.nan
        return float(np.interp(iteration, self.columns["iteration"], self.columns["seconds"]))

    def start(self, phase: Phase) -> tuple[int, float] | None:
        """Return the iteration at which a phase begins and the seconds until then, or None if it did not."""
        iteration = self.outcome.timeline.start(phase)
        return None if iteration is None else (iteration, self.seconds_at(iteration))


def in_groups(runs: Sequence[Compared]) -> list[Compared]:
    """Return the runs with their groups: one comparison may have runs that were gone on with by themselves."""
    configurations = [configuration_of(run.training) for run in runs]
    _, groups = names_of(configurations, [str(run.training.folder) for run in runs])
    return [replace(run, group=group) for run, group in zip(runs, groups, strict=True)]
