"""The run folder of a training that phasecore does not drive, but a monitor listens to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Settings
from phasecore.errors import InputError, PluginWarning
from phasecore.problems.base import Problem
from phasecore.registry import parse_specification, split_specification
from phasecore.runs.configuration import FORMAT, IDENTITY, UNITS, provenance
from phasecore.runs.folder import (
    CONFIGURATION,
    OUTCOME,
    check_free,
    create,
    read_configuration,
    save_snapshot,
    snapshot_file,
    write_json,
)
from phasecore.runs.history import plain
from phasecore.runs.provided import KEY, check_provided, provided, provided_problem


def monitored_configuration(
    *, backend: str, problem: Problem | None, weighting: str | None, settings: Mapping[str, Any], probes: Sequence[str]
) -> dict[str, Any]:
    """Return the configuration of a monitored training, as `run.json` keeps it; what is not known is None.

    Args:
        backend: name of the adapter.
        problem: the problem, where there is one.
        weighting: the specification of the weighting, where it has one.
        settings: those of `phasecore.backends.Settings` that are known.
        probes: names of what is measured at each capture.

    Example:
        >>> found = monitored_configuration(
        ...     backend="keras", problem=None, weighting=None, settings={"every": 10}, probes=["adam_snr"]
        ... )
        >>> found["seed"], found["settings"]["points"], found["settings"]["capture_interval_iterations"]
        (None, None, 10)
    """
    names = [item.name for item in fields(Settings) if item.name != "seed"]
    document = {
        "format": FORMAT,
        "problem": None if problem is None else problem.name,
        "problem_parameters": None if problem is None else problem.parameters,
        "backend": backend,
        "weighting": weighting or None,
        "preset": None,
        "seed": None,
        "settings": {UNITS.get(name, name): settings.get(name) for name in names},
        "probes": list(probes),
        KEY: [
            *([] if problem is None else [provided_problem(problem)]),
            *(provided("weighting", parse_specification(part, "weighting")[0]) for part in _parts(weighting)),
            *(provided("probe", name) for name in probes),
        ],
    }
    return {key: plain(value) for key, value in document.items()}


def _parts(weighting: str | None) -> list[str]:
    return split_specification(weighting) if weighting else []


def checked_snapshots(snapshots: Sequence[int], run_folder: str | Path | None) -> tuple[int, ...]:
    """Return the iterations after which snapshots are wanted.

    Raises:
        InputError: if one is no positive integer, or there is no run folder to save them in.

    Example:
        >>> checked_snapshots([100, 1000], "runs/mine")
        (100, 1000)
    """
    positive = all(isinstance(item, int) and not isinstance(item, bool) and item > 0 for item in snapshots)
    if not positive or (snapshots and run_folder is None):
        raise InputError(
            "argument 'snapshots'",
            received=repr(snapshots) if not positive else "snapshots without a run folder",
            expected="positive iterations, and run_folder= to save them in",
        )
    return tuple(snapshots)


@final
class MonitoredFolder:
    """Writes `run.json`, snapshots and `outcome.json`; the history is `CaptureLog`'s.

    Args:
        folder: where.
        resume: whether it may hold a run already, to go on with.

    Raises:
        InputError: if it holds a run and `resume` does not allow it, or is a file.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder = folder
        if not resume:
            check_free(folder)

    def begin(self, configuration: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Make the folder, or note in `run.json` that its run goes on.

        Args:
            configuration: see `monitored_configuration`.
            versions: of the framework and its companions.

        Raises:
            InputError: if the folder cannot be made or read, or other packages provide now what its run is made of.
        """
        if not (self.folder / CONFIGURATION).exists():
            create(self.folder, {**configuration, **provenance(versions)})
            return
        recorded = read_configuration(self.folder)
        for change in check_provided(self.folder, recorded, configuration.get(KEY, [])):
            warnings.warn(change, PluginWarning, stacklevel=2)
        sessions = [*recorded.get("resumed", []), {**provenance(versions), KEY: configuration.get(KEY, [])}]
        write_json(self.folder / CONFIGURATION, {**recorded, "resumed": sessions})
        (self.folder / OUTCOME).unlink(missing_ok=True)

    def has_snapshot(self, iteration: int) -> bool:
        """Return whether fields were saved after an iteration."""
        return snapshot_file(self.folder, iteration).exists()

    def snapshot(self, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Save fields, residuals and weights by name."""
        save_snapshot(self.folder, iteration, arrays)

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Write how the training ended, beside what `run.json` says of it."""
        recorded = read_configuration(self.folder)
        write_json(self.folder / OUTCOME, {**{name: recorded.get(name) for name in IDENTITY}, **outcome})
