"""TensorBoard: a folder of event files, one scalar per measured value. Needs `tensorboard`, not TensorFlow."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

from phasecore.backends import Monitored, Outcome, Training
from phasecore.hookspecs import hookimpl
from phasecore.loggers.content import folder_of, name_of, parameters_of, results_of, sentence_of
from phasecore.loggers.identity import Identity
from phasecore.phases import Transition
from phasecore.recording.history import numbers_of

RUN_FILE = "tensorboard_run.txt"


@final
class TensorBoardLogger:
    """Writes each capture as scalars, and the configuration and the phases as texts.

    The records are written by `tensorboard`'s own writer into a plain file: its `EventFileWriter` would import
    TensorFlow wherever that is installed. Going on with a run, a new file tells TensorBoard to forget the captures from
    the resumed iteration on. The run folder says which folder is its own; without one a training goes on in the last
    folder of its name.

    Args:
        path: folder for the runs, each in a folder with its name, or with that and a number, "uniform-2", where another
            run has that name; look at it with `tensorboard --logdir PATH`. By default `tensorboard` in the run folder
            or else in the working folder.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._identity = Identity(RUN_FILE, {"path": path})
        self._is_used = False
        self._writer: Any = None
        self._resumed = False

    @hookimpl
    def phasecore_run_started(self, training: Training | Monitored, resumed: bool) -> None:
        """Open the event file, and write the configuration."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._close()
        folder = self._folder(training, resumed)
        file = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._writer = RecordWriter((folder / file).open("xb"))
        self._write(Event(file_version="brain.Event:2"))
        self._resumed = resumed
        if not resumed:
            configuration = json.dumps(parameters_of(training), indent=1)
            self._write_text(0, "configuration", f"```\n{configuration}\n```")

    @hookimpl
    def phasecore_captured(self, row: Mapping[str, Any]) -> None:
        """Write scalars."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        if self._resumed:
            self._write(Event(step=row["iteration"], session_log=SessionLog(status=SessionLog.START)))
            self._resumed = False
        self._write_scalars(row["iteration"], numbers_of(row))

    @hookimpl
    def phasecore_phase_changed(self, transition: Transition) -> None:
        """Write the phase as a text."""
        self._write_text(transition.declared_at or transition.iteration, "phase", sentence_of(transition))

    @hookimpl
    def phasecore_run_finished(self, outcome: Outcome) -> None:
        """Write the outcome, and close the file."""
        self._write_scalars(outcome.iterations, results_of(outcome))
        self._close()

    @hookimpl
    def phasecore_run_stopped(self) -> None:
        """Close the file."""
        self._close()

    def _folder(self, training: Training | Monitored, resumed: bool) -> Path:
        """Return the folder of a run, made if absent: its own where it goes on, else one that is nobody's yet."""
        parent, name = self._path or folder_of(training) / "tensorboard", name_of(training)
        known = self._identity.of(training) if resumed else None
        if resumed and known is None and not self._is_used and (training.folder is None or self._path is None):
            known = _last(parent, name)
        self._is_used = True
        folder = _free(parent, name) if known is None else parent / known
        folder.mkdir(parents=True, exist_ok=True)
        self._identity.keep(training, folder.name)
        return folder

    def _write_scalars(self, iteration: int, numbers: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._write(Event(step=iteration, summary=Summary(value=values)))

    def _write_text(self, iteration: int, tag: str, text: str) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        value = Summary.Value(
            tag=tag,
            metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
            tensor=TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape),
        )
        self._write(Event(step=iteration, summary=Summary(value=[value])))

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _named(parent: Path, name: str) -> Iterator[Path]:
    yield parent / name
    yield from (parent / f"{name}-{number}" for number in itertools.count(2))


def _free(parent: Path, name: str) -> Path:
    """Make and return the first folder of a name that is not there yet."""
    parent.mkdir(parents=True, exist_ok=True)
    for folder in _named(parent, name):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _last(parent: Path, name: str) -> str | None:
    """Return the last folder of a name, None where there is none."""
    there = list(itertools.takewhile(Path.is_dir, _named(parent, name)))
    return there[-1].name if there else None
