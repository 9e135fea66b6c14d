"""What keeps a training from being recorded: said once per cause, and never a reason for it to end."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import final

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN}
TAKEN = {errno.EWOULDBLOCK, errno.EEXIST}


def remedy(error: OSError) -> str:
    """Return what to do about a file that cannot be written.

    Example:
        >>> remedy(OSError(errno.ENOSPC, ""))
        'Free space there, or raise the limit or quota.'
    """
    remedies = {
        "Free space there, or raise the limit or quota.": NO_SPACE,
        "Make it writable again.": FORBIDDEN,
        "Bring its folder or disk back.": ABSENT,
        "End that process, or choose another folder.": TAKEN,
        "Close files, or raise the limit (ulimit -n).": {errno.EMFILE, errno.ENFILE},
    }
    return next((words for words, codes in remedies.items() if error.errno in codes), "Look at the disk.")


def reason(error: OSError) -> str:
    """Return why a file cannot be written, without its name.

    Example:
        >>> reason(OSError(errno.ENOSPC, "No space left on device"))
        'No space left on device'
    """
    return error.strerror or str(error)


@final
class Trouble:
    """Says once per cause that something could not be written.

    Args:
        warn: takes a sentence.

    Example:
        >>> told = []
        >>> trouble = Trouble(told.append)
        >>> for name in ("history.jsonl", "run.json"):
        ...     trouble.met(Path(name), OSError(errno.EROFS, "Read-only file system"))
        >>> len(told), told[0].partition(":")[0]
        (1, 'cannot write history.jsonl (Read-only file system)')
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._told: set[int | None] = set()

    def met(self, file: Path, error: OSError) -> None:
        """Hear that a file could not be written."""
        if error.errno not in self._told:
            self._told.add(error.errno)
            self._warn(
                f"cannot write {file} ({reason(error)}): the training goes on, and what is measured is kept in memory "
                f"until it can be written. {remedy(error)}"
            )

    def vanished(self, file: Path) -> None:
        """Hear that a file was removed while the training went on, and is written anew."""
        if errno.ENOENT not in self._told:
            self._told.add(errno.ENOENT)
            self._warn(f"{file} vanished: it is written again, with everything that was measured")
