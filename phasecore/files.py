"""Files that hold the old or the new content, never a part, and files that grow by whole lines."""

from __future__ import annotations

import contextlib
import io
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, final

PART = ".part"
"""Ending of the names of files that are being written; a killed process may leave one."""


@final
class Stream(io.FileIO):
    """A file that is written, which remembers what kept it from being so."""

    failure: OSError | None = None

    def write(self, content: Any, /) -> int:
        """Write what fits, and return how many bytes that was."""
        try:
            return super().write(content) or 0
        except OSError as error:
            self.failure = error
            raise


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """Open a file to be written whole: a neighbour is written, handed to the disk, and renamed at the end.

    Where writing raises, the file is as it was. Processes that write it at the same time do not disturb each other.

    Raises:
        OSError: if it cannot be written, also where whoever writes makes another error of that, as torch does.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state"
        >>> with replacing(file) as stream:
        ...     _ = stream.write(b"whole")
        >>> file.read_bytes(), len(list(file.parent.iterdir()))
        (b'whole', 1)
    """
    neighbour = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}{PART}")
    written: Stream | None = None
    try:
        written = Stream(neighbour, "wb")
        with io.BufferedWriter(written) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if written.failure is not None:
            raise written.failure
        os.replace(neighbour, file)
    except Exception as error:
        if written is None or written.failure is None or isinstance(error, OSError):
            raise
        raise written.failure from error
    finally:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)


def clear_parts(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left of files that they were writing; nobody else may be writing there.

    Args:
        folder: where; it may be absent.
        name: of the file that was to be; None for any.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / ".state.0123456789ab.part").touch()
        >>> clear_parts(folder, "other")
        >>> len(list(folder.iterdir()))
        1
        >>> clear_parts(folder)
        >>> len(list(folder.iterdir()))
        0
    """
    wanted = re.compile(rf"\.{'.+' if name is None else re.escape(name)}\.[0-9a-f]{{12}}{re.escape(PART)}")
    with contextlib.suppress(OSError):
        for file in filter(lambda file: wanted.fullmatch(file.name), list(folder.iterdir())):
            file.unlink()


@final
class Growing:
    """A text file to which whole lines are added: what is written in part is taken back.

    Args:
        file: made if absent, added to otherwise.

    Example:
        >>> import tempfile
        >>> growing = Growing(Path(tempfile.mkdtemp()) / "lines")
        >>> growing.add("one" + chr(10))
        >>> growing.close()
        >>> growing.file.read_text().splitlines(), growing.is_gone()
        (['one'], False)
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream: Stream | None = None
        self._end: int | None = None
        self._has_part = False

    def add(self, text: str) -> None:
        """Write lines and hand them to the operating system at once.

        Raises:
            OSError: if they cannot be written; none of them is there then.
        """
        stream, content = self._opened(), text.encode("utf-8")
        assert self._end is not None
        written = 0
        try:
            while written < len(content):
                written += stream.write(content[written:])
        except OSError:
            self._has_part = written > 0
            self._take_back(stream)
            raise
        self._end += len(content)

    def is_gone(self) -> bool:
        """Return whether what was written is no longer there: the file vanished, or was cut."""
        if self._end is None:
            return False
        try:
            return os.stat(self.file).st_size < self._end
        except OSError:
            return True

    def take_as_it_is(self) -> None:
        """Take the file as it is now: it was written anew."""
        self.close()
        self._end, self._has_part = os.stat(self.file).st_size, False

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with contextlib.suppress(OSError):  # the lines were handed over one by one
                stream.close()

    def _opened(self) -> Stream:
        if self._stream is not None and not _is_at(self._stream, self.file):
            self.close()
        if self._stream is None:
            stream = Stream(self.file, "ab")
            if self._end is None or not self._has_part:
                self._end = os.fstat(stream.fileno()).st_size
            self._stream = stream
        if self._has_part:
            self._take_back(self._stream)
            if self._has_part:
                raise OSError(f"{self.file} ends in a part of a line, which cannot be taken back")
        return self._stream

    def _take_back(self, stream: Stream) -> None:
        """Cut the file to its last whole line, now or before the next one."""
        assert self._end is not None
        with contextlib.suppress(OSError):
            if self._has_part:
                os.ftruncate(stream.fileno(), self._end)
            self._has_part = False


def _is_at(stream: Stream, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(file))
    except OSError:
        return False
