"""What a start makes in a run folder, which is taken back where it was refused before anything was captured."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import final

from phasecore.errors import PhasecoreError, TrainingError
from phasecore.recording.folder import CHECKPOINT, CONFIGURATION, OUTCOME, SNAPSHOTS
from phasecore.recording.history import HISTORY


def is_refusal(error: BaseException) -> bool:
    """Return whether an error that came before the first capture says what was wrong with what was asked for.

    Example:
        >>> from phasecore.errors import InputError
        >>> is_refusal(InputError("a column")), is_refusal(TrainingError("a loss")), is_refusal(MemoryError())
        (True, False, False)
    """
    return isinstance(error, PhasecoreError) and not isinstance(error, TrainingError)


@final
class Start:
    """The start of a run in a folder that holds none.

    Args:
        folder: as it is before anything is made there, whatever that is.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "notes.txt").write_text("mine")
        >>> start = Start(folder)
        >>> (folder / "checkpoint").mkdir()
        >>> _ = (folder / "run.json").write_text("{}")
        >>> start.take_back()
        >>> [path.name for path in folder.iterdir()]
        ['notes.txt']
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders = [folder / CHECKPOINT, folder / SNAPSHOTS]
        self._there = {*self._parts(), *(place for place in (*self._folders, folder) if place.exists())}

    def take_back(self) -> None:
        """Remove what was made since, as far as that is possible; what else lies in the folder stays."""
        for path in self._parts():
            if path not in self._there:
                _remove(path)
        for place in (*self._folders, self._folder):
            if place not in self._there:
                with contextlib.suppress(OSError):
                    place.rmdir()

    def _parts(self) -> list[Path]:
        """The files of a run that are there, and what lies in its folders."""
        files = [self._folder / name for name in (CONFIGURATION, HISTORY, OUTCOME)]
        within = [path for place in self._folders if place.is_dir() for path in place.iterdir()]
        return [*(file for file in files if file.exists()), *within]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()
