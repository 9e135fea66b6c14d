"""What a run folder keeps of a problem of one's own, which no package provides: enough to read the run without it.

Its code is never run to read a run, nor taken from there to go on with it: it is loaded where the user types it, and
must compute what it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore import registry
from phasecore.backends import Monitored, Training
from phasecore.errors import InputError
from phasecore.origins import origin_of_class
from phasecore.problems.base import Problem
from phasecore.problems.checks import reference_of
from phasecore.problems.identity import check_same, fingerprint, source_of
from phasecore.problems.loading import Written, load_class
from phasecore.problems.rehearsal import fields_known

KEY = "problem_source"
"""Name of the entry in `run.json`."""

REFERENCE = "reference_"
"""How the arrays of a snapshot begin that hold the reference solution on the grid, followed by the field."""


def is_own(problem: Problem | None) -> bool:
    """Return whether a problem is one that no package provides.

    Example:
        >>> is_own(registry.problem("helmholtz")), is_own(None)
        (False, False)
    """
    return problem is not None and registry.origin_of("problem", problem) is None


def recorded_source(training: Training | Monitored) -> dict[str, Any]:
    """Return the entry of a training on a problem of one's own, under its name; nothing for other trainings.

    It holds class, file and hash of the file, the coordinates, and what the problem computes at made-up points.
    """
    problem = training.problem
    if problem is None or not is_own(problem):
        return {}
    return {KEY: {**source_of(problem), "coordinates": list(problem.coordinates), "fingerprint": _computed(problem)}}


def is_written(recorded: Mapping[str, Any], written: Written) -> bool:
    """Return whether a run is on a problem of a class of this name, or that is registered as the run's problem is.

    Raises:
        InputError: as `phasecore.problems.loading.load_class`.
    """
    was = recorded.get(KEY)
    if isinstance(was, Mapping):
        return str(was.get("class")).rpartition(".")[2] == written.name
    cls = load_class(written)
    origin = origin_of_class("problem", cls, getattr(cls, "name", None))
    return origin is not None and origin.made_as.name == recorded.get("problem")


def check_class_given(folder: Path, recorded: Mapping[str, Any], problem: str | Problem | None) -> None:
    """Refuse to go on with a run on a problem of one's own without its class.

    Raises:
        InputError: saying what to type.
    """
    was = recorded.get(KEY)
    if isinstance(was, Mapping) and not isinstance(problem, Problem):
        file = was.get("file")
        raise InputError(
            f"the run in {folder} is on a class of one's own, {was.get('class')}",
            received="no problem" if problem is None else repr(problem),
            expected=f"{file or 'file.py'}:{was.get('class')}",
            fix="No code is taken from a run folder: name the file and the class again.",
        )


def check_unchanged(folder: Path, recorded: Mapping[str, Any], problem: Problem) -> None:
    """Refuse to go on with a problem of one's own that computes something else than it did.

    Raises:
        InputError: naming the first difference.
    """
    was = recorded.get(KEY)
    before = was.get("fingerprint") if isinstance(was, Mapping) else None
    now = _computed(problem) if isinstance(before, Mapping) else None
    if isinstance(before, Mapping) and now is not None:
        check_same(f"the run in {folder} was trained", before, now)


@final
class Computed:
    """By what two runs on a problem of one's own can be told to be on the same: these are equal then.

    It is the hash of its file, or what the problem computed at made-up points, as far as machines agree in that.

    Args:
        source: the entry of `run.json`.

    Example:
        >>> one, other = Computed({"class": "Wave", "sha256": "1f"}), Computed({"class": "Wave", "sha256": "2e"})
        >>> one == other, one == Computed({"class": "Wave", "sha256": "1f"})
        (False, True)
    """

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._file = source.get("class"), source.get("sha256")
        self._fingerprint = source.get("fingerprint")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Computed):
            return NotImplemented
        if None not in self._file and self._file == other._file:
            return True
        one, another = self._fingerprint, other._fingerprint
        if not (isinstance(one, Mapping) and isinstance(another, Mapping)):
            return False
        if one == another:
            return True
        try:
            check_same("a run", one, another)
            check_same("a run", another, one)
        except (InputError, KeyError, TypeError, ValueError):  # other numbers, or none: a file may hold anything
            return False
        return True

    __hash__ = None  # type: ignore[assignment]


def computed_by(recorded: Mapping[str, Any]) -> Computed | None:
    """Return what tells the problem of a run from others of the same name; None where a package provides it."""
    was = recorded.get(KEY)
    return Computed(was) if isinstance(was, Mapping) else None


def changed_file(folder: Path, recorded: Mapping[str, Any], problem: Problem | None) -> list[str]:
    """Return a sentence where the file of the class is another than it was; what it computes was compared before."""
    was = recorded.get(KEY)
    if problem is None or not isinstance(was, Mapping) or not was.get("sha256"):
        return []
    now = source_of(problem)
    if now["sha256"] in (None, was["sha256"]):
        return []
    return [f"{now['file']} has changed since the run in {folder} began; its {now['class']} computes what it did"]


def reference_arrays(problem: Problem | None, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Return the reference solution of a problem of one's own on a snapshot's grid, by the names of its arrays.

    Args:
        problem: that is trained.
        arrays: of the snapshot.
    """
    grid = arrays.get("grid")
    if grid is None or problem is None or not is_own(problem) or not problem.has_reference:
        return {}
    data = problem.reference_data
    if data is not None and not data.table(problem).axes:
        return {}
    found = reference_of(problem, grid, fields_known(problem))
    return {f"{REFERENCE}{name}": values for name, values in found.items()}


def _computed(problem: Problem) -> dict[str, Any] | None:
    """The fingerprint, or None of a problem whose equations only run on a framework's arrays."""
    try:
        return fingerprint(problem)
    except Exception:
        return None
