"""The runs of a report: which they are, what they are called, and the phases found in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from phasecore.arguments import is_whole
from phasecore.backends import Acted
from phasecore.errors import InputError
from phasecore.phases import Timeline
from phasecore.policies.actions import Stop
from phasecore.problems.coefficients import final_coefficients
from phasecore.recording.configuration import IDENTITY, points_per_batch, trained
from phasecore.recording.folder import (
    COMPARISON,
    CONFIGURATION,
    FAILURE,
    Run,
    open_run,
    read_configuration,
    read_json,
)
from phasecore.recording.history import plain, timeline_of
from phasecore.reporting.moved import moved
from phasecore.reporting.naming import names_of, problem_text


@final
@dataclass(frozen=True)
class Reported:
    """A run in a report.

    Attributes:
        run: as its folder holds it.
        label: what sets it apart from the others in the report.
        timeline: the phases found in its whole history.
        group: what runs that differ by nothing but their seed have in common, in words; by default the label.
    """

    run: Run
    label: str
    timeline: Timeline
    group: str = ""

    @property
    def weighting(self) -> str:
        """The weighting, and whatever else but the seed tells the runs apart."""
        return self.group or self.label

    @property
    def seed(self) -> int | None:
        """The seed of the points and the network, None where it is not known."""
        seed = self.run.configuration.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def trained(self) -> Mapping[str, Any]:
        """All that was trained, the seed apart, as far as `run.json` says it."""
        return trained(self.run.configuration)

    @property
    def failure(self) -> str:
        """Why the training could not go on; empty where it could."""
        return str(self.run.configuration.get(FAILURE) or "")

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to the end: it did the iterations that `run.json` asks for, or a policy stopped it."""
        if self.failure or self.run.outcome is None:
            return False
        asked = (self.run.configuration.get("settings") or {}).get("iterations")
        done = self.run.outcome.get("iterations")
        enough = not (is_whole(asked) and is_whole(done)) or done >= asked
        return enough or any(acted.action == Stop.name for acted in self.actions)

    @property
    def error(self) -> float:
        """The relative L2 error, as far as the run has come; NaN where that is no number, or the training failed."""
        return math.nan if self.failure else self.final("relative_l2_error")

    @property
    def seconds(self) -> float:
        """The training time, as far as the run has come, NaN where it is not known."""
        return self.final("seconds")

    @property
    def actions(self) -> Sequence[Acted]:
        """What policies had done so far, in order."""
        return self.run.actions

    @property
    def last_iteration(self) -> int:
        """The iteration of the last capture, 0 if there is none."""
        return int(self.final("iteration")) if self.run.history else 0

    @property
    def points_per_batch(self) -> float | None:
        """How many points a batch of the SNR holds on average, None where it is not known; old runs do not say it."""
        settings = self.run.configuration.get("settings")
        return points_per_batch(settings) if isinstance(settings, Mapping) else None

    @property
    def problem(self) -> str:
        """The problem with its parameters, in words."""
        return problem_text(self.run.configuration)

    def final(self, name: str) -> float:
        """Return what was measured last of a column, NaN if that is no number, or nothing was measured."""
        column = self.run.recorded.get(name, ())
        return next((value for value in reversed(column) if value is not None), math.nan)

    def moved(self) -> list[str]:
        """Return a sentence for each transition that was announced during the training and lies elsewhere."""
        return moved(self.timeline, self.run.recorded)

    def summary(self) -> dict[str, Any]:
        """Return the run as `phasecore run --json` prints it, as far as it has come."""
        last = {name: column[-1] for name, column in self.run.recorded.items() if column and column[-1] is not None}
        found = final_coefficients([last])
        document = {name: self.run.configuration.get(name) for name in IDENTITY} | {
            "iterations": self.last_iteration,
            "seconds": self.final("seconds"),
            "relative_l2_error": self.final("relative_l2_error"),
            **({"coefficients": found} if found else {}),
            "phases": self.timeline.to_json(),
            "actions": [acted.to_json() for acted in self.run.actions],
            "output": str(self.run.folder),
        }
        document |= {FAILURE: self.failure} if self.failure else {}
        return {key: plain(value) for key, value in document.items()}


def gather(folders: Sequence[str | Path]) -> list[Reported]:
    """Read runs, find their phases and name them.

    Args:
        folders: run folders, or folders of such (a comparison's); each run counts once. What else lies in the folder
            of a comparison is passed over, so that `FOLDER/*` names its runs.

    Raises:
        InputError: if there is none, one holds no run, or a file of a run cannot be read; the message names it.
    """
    found: dict[Path, Path] = {}
    for folder in map(Path, folders):
        if _beside_runs(folder):
            continue
        for place in _run_folders(folder):
            found.setdefault(place.resolve(), place)
    if not found:
        raise InputError("report", received="no folders", expected="run folders, or folders of such")
    runs = [open_run(folder) for folder in _in_order_of_comparison(list(found.values()))]
    configurations = [run.configuration for run in runs]
    labels, groups = names_of(configurations, [str(run.folder) for run in runs])
    return [Reported(run, label, _timeline(run), group) for run, label, group in zip(runs, labels, groups, strict=True)]


def _beside_runs(path: Path) -> bool:
    """Whether it is a file that lies beside the runs of a comparison."""
    return path.is_file() and (path.parent / COMPARISON).is_file()


def _in_order_of_comparison(folders: list[Path]) -> list[Path]:
    """Put the runs of one comparison in its order, that of its weightings and seeds."""
    parents = {folder.resolve().parent for folder in folders}
    file = next(iter(parents)) / COMPARISON
    if len(parents) > 1 or not file.is_file():
        return folders
    listed = read_json(file).get("runs")
    names = listed if isinstance(listed, list) else []
    return sorted(folders, key=lambda folder: names.index(folder.name) if folder.name in names else len(names))


def _run_folders(folder: Path) -> list[Path]:
    """Return the folder itself if it holds a run, else those within that do, in the order of their start."""
    if (folder / CONFIGURATION).is_file():
        return [folder]
    within = [file.parent for file in folder.glob(f"*/{CONFIGURATION}")]
    if not within:
        raise InputError(
            f"no run at {folder}",
            received="a folder without" if folder.is_dir() else "a file" if folder.exists() else "no such path",
            expected=f"a folder with {CONFIGURATION}, or a folder of such folders",
        )
    return sorted(within, key=lambda place: (str(read_configuration(place).get("created_at_utc")), place.name))


def _timeline(run: Run) -> Timeline:
    if not run.history:
        return Timeline((), None, "cannot tell: nothing was captured yet")
    return timeline_of(run.recorded)
