"""One process records in a place: a lock of the operating system, which ends with the process however that ends."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import socket
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import final

HAS_LOCKS = importlib.util.find_spec("fcntl") is not None
"""Not on Windows, where nothing is locked."""

NONE_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems answer that know of no locks."""


@dataclass(frozen=True)
@final
class _Held:
    """A lock that this process holds.

    Attributes:
        descriptor: of the lock file.
        owner: who has it: the one that took it last.
    """

    descriptor: int
    owner: object


_HELD: dict[str, _Held] = {}


@final
class Lock:
    """The right to write a file, of one process at a time; a hidden file beside it says whose it is.

    Within a process it goes to whoever takes it last. A process that is killed leaves the hidden file, which locks
    nothing any more. Where the file system knows no locks, nothing is locked.

    Args:
        file: to be written.

    Example:
        >>> import tempfile
        >>> lock = Lock(Path(tempfile.mkdtemp()) / "history.jsonl")
        >>> lock.take()
        >>> lock.is_held(), [path.name for path in lock.file.parent.iterdir()]
        (True, ['.history.jsonl.lock'])
        >>> lock.release()
        >>> lock.is_held(), list(lock.file.parent.iterdir())
        (False, [])
    """

    def __init__(self, file: Path) -> None:
        self.file = file.with_name(f".{file.name}.lock")
        self._key = os.path.realpath(self.file)
        self._owner = object()
        self._is_useless = False
        weakref.finalize(self, _release, self._key, self._owner).atexit = True

    def take(self) -> None:
        """Take it.

        Raises:
            BlockingIOError: if another process has it; the message says which.
            OSError: if there can be no file there.
        """
        held = _HELD.get(self._key)
        if held is not None and _is_file(held.descriptor, self._key):
            _HELD[self._key] = _Held(held.descriptor, self._owner)
            return
        if held is not None:
            _close(_HELD.pop(self._key).descriptor)
        descriptor = _locked(self._key)
        self._is_useless = descriptor is None
        if descriptor is not None:
            _HELD[self._key] = _Held(descriptor, self._owner)

    def is_held(self) -> bool:
        """Return whether it is held, or there is nothing that could be."""
        held = _HELD.get(self._key)
        if self._is_useless:
            return True
        return held is not None and held.owner is self._owner and _is_file(held.descriptor, self._key)

    def release(self) -> None:
        """Let others have it; nothing where it is another's."""
        _release(self._key, self._owner)


def _locked(path: str) -> int | None:
    """Return the descriptor of a lock file that no one else has, None where there are no locks."""
    if not HAS_LOCKS:
        return None
    import fcntl

    while True:
        # no link is followed: it could lead to a file that somebody needs
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            whose = "" if error.errno in NONE_HERE else _read(descriptor)
            os.close(descriptor)
            if error.errno in NONE_HERE:
                return None
            raise BlockingIOError(errno.EWOULDBLOCK, f"{whose or 'another process'} writes it") from None
        if _is_file(descriptor, path):
            with contextlib.suppress(OSError):  # the lock does without the words
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            return descriptor
        os.close(descriptor)  # whoever had it has just removed it


def _read(descriptor: int) -> str:
    try:
        return os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _is_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _release(key: str, owner: object) -> None:
    held = _HELD.get(key)
    if held is not None and held.owner is owner:
        del _HELD[key]
        if _is_file(held.descriptor, key):
            with contextlib.suppress(OSError):
                os.unlink(key)
        _close(held.descriptor)


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _forget() -> None:
    """In a process that was forked: the locks are those of the one that it came from."""
    for held in _HELD.values():
        _close(held.descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
