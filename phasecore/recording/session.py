"""A session of a run: its folder is made, or `run.json` notes that the run in it goes on."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Mapping, Sequence

from phasecore.backends import Monitored, Training
from phasecore.errors import PluginWarning
from phasecore.recording.configuration import configuration_of, provenance
from phasecore.recording.display import Display, Silent, level_outside
from phasecore.recording.folder import FAILURE, read_configuration
from phasecore.recording.own_problem import recorded_source
from phasecore.recording.provided import KEY, check_provided, provided_for
from phasecore.recording.record import Record
from phasecore.recording.same_problem import check_problem


def begin_session(
    record: Record,
    training: Training | Monitored,
    versions: Mapping[str, str],
    loggers: Sequence[str],
    display: Display,
) -> bool:
    """Make the run folder if there is to be one, or note in `run.json` that its run goes on; return whether it does.

    Args:
        record: of the folder.
        training: what is known of the training.
        versions: of the framework and its companions.
        loggers: those that were asked for by name.
        display: hears what the run is made of that is another now.

    Raises:
        InputError: if the folder cannot be made, written or read, or what its run is made of is provided by others now.
    """
    if record.folder is None:
        return False
    provided = provided_for(training, loggers)
    if not record.has_run:
        configuration = {**configuration_of(training), "loggers": list(loggers), KEY: provided}
        record.create({**configuration, **recorded_source(training), **provenance(versions)})
        return False
    recorded = read_configuration(record.folder)
    recorded.pop(FAILURE, None)
    changes = check_provided(record.folder, recorded, provided), check_problem(record.folder, recorded, training)
    for change in itertools.chain(*changes):
        _warn(display, change)
    sessions = [*recorded.get("resumed", []), {**provenance(versions), KEY: provided}]
    now = {"settings": configuration_of(training)["settings"], "loggers": list(loggers), "resumed": sessions}
    record.go_on({**recorded, **now})
    return True


def _warn(display: Display, change: str) -> None:
    if isinstance(display, Silent):
        warnings.warn(change, PluginWarning, stacklevel=level_outside())
        return
    with contextlib.suppress(OSError):
        display.warned(change)
