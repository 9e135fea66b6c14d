"""Whether a run folder is gone on with on the problem that it was begun on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phasecore.backends import Monitored, Training
from phasecore.errors import InputError
from phasecore.recording.configuration import configuration_of
from phasecore.recording.history import plain
from phasecore.recording.own_problem import changed_file, check_unchanged


def check_problem(folder: Path, recorded: Mapping[str, Any], training: Training | Monitored) -> list[str]:
    """Refuse to go on with another problem, and return a sentence where the file of its class has changed.

    What `phasecore run` drives was compared whole before: here it is a training of somebody else's loop.

    Args:
        folder: of the run.
        recorded: what `run.json` says.
        training: that goes on there.

    Raises:
        InputError: for a problem of another name, with other parameters, or that computes something else.
    """
    if isinstance(training, Monitored) and training.problem is not None:
        now = plain(configuration_of(training))
        for key in ("problem", "problem_parameters"):
            before, after = _given(recorded.get(key)), _given(now[key])
            if before is not None and before != after:
                raise InputError(
                    f"the run in {folder} differs in {key!r}",
                    received=repr(after),
                    expected=repr(before),
                    fix="Go on with the problem that it was begun on, or choose another folder.",
                )
        check_unchanged(folder, recorded, training.problem)
    return changed_file(folder, recorded, training.problem)


def _given(value: Any) -> Any:
    """A parameter that came later does nothing unless it is given."""
    return {name: own for name, own in value.items() if own is not None} if isinstance(value, Mapping) else value
