"""What a start makes in a run folder, which is taken back where it was refused before anything was captured."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import final

from phasecore.errors import TrainingError
from phasecore.recording.folder import CHECKPOINT, CONFIGURATION, OUTCOME, SNAPSHOTS
from phasecore.recording.history import HISTORY


def is_refusal(error: BaseException) -> bool:
    """Return whether an error that came before the first capture is no result of a training, nor somebody's wish.

    Example:
        >>> is_refusal(ValueError()), is_refusal(TrainingError("a loss")), is_refusal(KeyboardInterrupt())
        (True, False, False)
    """
    return isinstance(error, Exception | SystemExit) and not isinstance(error, TrainingError)


@final
class Start:
    """The start of a run in a folder that holds none.

    Args:
        folder: as it is before anything is made there: without a run, or a part of one but empty folders.

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
        self._files = [folder / name for name in (CONFIGURATION, HISTORY, OUTCOME)]
        self._folders = [folder / CHECKPOINT, folder / SNAPSHOTS]
        self._made = [place for place in (*self._folders, folder) if not place.exists()]

    def take_back(self) -> None:
        """Remove what was made since, as far as that is possible; what else lies in the folder stays."""
        for path in (path for place in self._folders if place.is_dir() for path in place.iterdir()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(path)
        for file in self._files:
            _remove(file)
        for place in self._made:
            with contextlib.suppress(OSError):
                place.rmdir()


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
