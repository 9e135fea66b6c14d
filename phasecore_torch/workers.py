"""A training of `phasecore run` in several processes of this machine: this one, and others that it starts."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, final

import cloudpickle
import torch
import torch.distributed

from phasecore.backends import Training
from phasecore.errors import InputError, PhasecoreError, TrainingError
from phasecore.problems import part_of
from phasecore_torch.processes import processes

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others: longer than any compiles, and no hang lasts for ever."""

SECONDS_TO_START = 300.0

Train = Callable[[Training, Any, Path | None, bool], None]


def _part(training: Training, place: int) -> Training:
    settings = training.settings
    own = part_of(training.problem, training.points, place, settings.processes, batches=settings.batches)
    return replace(training, points=own)


def train_in_processes(train: Train, training: Training, observer: Any, checkpoint: Path | None, resume: bool) -> None:
    """Train in as many processes as the settings say, each with its points, and the first alone with the observer.

    Args:
        train: what each of them does, a function of a module: `train(training, observer, checkpoint, resume)`.
        training: with all points.
        observer: of the training.
        checkpoint: where each finds a saved state.
        resume: whether they go on from it.

    Raises:
        TrainingError: where one of the others ended.
    """
    count = training.settings.processes
    if count == 1:
        train(training, observer, checkpoint, resume)
        return
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="phasecore-", ignore_cleanup_errors=True) as made:
        others = _Others(Path(made), [training, checkpoint, resume, train], count)
        try:
            others.start()
            _join(Path(made), 0, count)
            train(_part(training, 0), observer, checkpoint, resume)
            others.finish()
        except RuntimeError as error:
            # what was sent to, or awaited of, a process that is no more
            if isinstance(error, PhasecoreError) or not (ended := others.ended()):
                raise
            raise ended from error
        finally:
            others.kill()
            torch.set_num_threads(threads)
            if processes() > 1:
                torch.distributed.destroy_process_group()


def _join(folder: Path, place: int, count: int) -> None:
    """Be one of the processes, with a part of the cores, or a device of its own where there are as many."""
    has_devices = torch.cuda.is_available() and torch.cuda.device_count() >= count
    if has_devices:
        torch.cuda.set_device(place)
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // count)))
    backend, store = "nccl" if has_devices else "gloo", f"file://{folder / 'store'}"
    torch.distributed.init_process_group(backend, init_method=store, rank=place, world_size=count, timeout=TIMEOUT)


@final
class _Task(NamedTuple):
    """What another process reads: where modules are found, before what is made of them."""

    path: list[str]
    folder: str
    place: int
    processes: int
    dtype: torch.dtype
    train: bytes


@final
class _Others:
    """The processes beside this one."""

    def __init__(self, folder: Path, train: list[Any], count: int) -> None:
        self._folder, self._count = folder, count
        try:
            self._train = cloudpickle.dumps(train)
        except Exception as error:  # pickle raises what objects of any kind do
            raise InputError(
                f"a training in {count} processes",
                received=f"something that cannot be sent to another process ({error})",
                expected="a problem, weighting and probes that can be pickled",
                fix="Make what cannot be, such as a lock or an open file, where it is used; or train in one process.",
            ) from error
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start them, and wait until each has read what it is to do.

        Raises:
            TrainingError: where one ended before.
        """
        command = [sys.executable, "-m", "phasecore_torch.workers"]
        for place in range(1, self._count):
            with self._file(place, "said").open("wb") as said:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
            self._started[place] = process
            task = _Task(sys.path, str(self._folder), place, self._count, torch.get_default_dtype(), self._train)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as stream:
                pickle.dump(tuple(task), stream)
        until = time.monotonic() + SECONDS_TO_START
        while not all(self._file(place, "ready").exists() for place in self._started):
            if (ended := self.ended(wait=0.0)) is not None:
                raise ended
            if time.monotonic() > until:
                raise TrainingError("processes of the training", received=f"none ready after {SECONDS_TO_START:g} s")
            time.sleep(0.02)

    def ended(self, wait: float = 5.0) -> TrainingError | None:
        """Return why the training cannot go on where one of them has ended, or ends within some seconds."""
        until = time.monotonic() + wait
        while True:
            for place, process in self._started.items():
                if process.poll() not in (None, 0):
                    return TrainingError(
                        f"process {place} of {self._count} of the training ended",
                        received=self._last_words(place) or f"exit status {process.returncode}",
                    )
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)

    def finish(self) -> None:
        """Wait until all have ended as they should."""
        for process in self._started.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)

    def kill(self) -> None:
        """End those that have not ended."""
        for process in self._started.values():
            process.kill()
            process.wait(60)

    def _file(self, place: int, kind: str) -> Path:
        return self._folder / f"{place}.{kind}"

    def _last_words(self, place: int) -> str:
        lines = self._file(place, "said").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


@final
class _Unheard:
    """The observer of all processes but the first."""

    def resumed(self, iteration: int) -> None:
        """Hear nothing."""

    def progressed(self, iteration: int, loss: float) -> None:
        """Hear nothing."""

    def captured(self, row: Mapping[str, Any]) -> None:
        """Hear nothing."""

    def snapshot(self, iteration: int, arrays: Mapping[str, Any]) -> None:
        """Hear nothing."""


def main() -> None:
    """Train as the process that started this one says; where it ends, so does this one."""
    # Ctrl-C is heard by the first process, which ends all
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = _Task(*pickle.load(sys.stdin.buffer))
    sys.path[:] = task.path
    torch.set_default_dtype(task.dtype)
    training, checkpoint, resume, train = pickle.loads(task.train)
    folder = Path(task.folder)
    (folder / f"{task.place}.ready").touch()
    _join(folder, task.place, task.processes)
    try:
        train(_part(training, task.place), _Unheard(), checkpoint, resume)
    except KeyboardInterrupt:
        return
    except (InputError, TrainingError) as error:
        sys.exit(str(error))
    finally:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
