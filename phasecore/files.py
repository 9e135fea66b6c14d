"""Files that hold the old or the new content, never a part."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PART = ".part"
"""Ending of the names of files that are being written; a killed process may leave one."""


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """Open a file to be written whole: a neighbour is written, handed to the disk, and renamed at the end.

    Where writing raises, the file is as it was. Processes that write it at the same time do not disturb each other.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "state"
        >>> with replacing(file) as stream:
        ...     _ = stream.write(b"whole")
        >>> file.read_bytes(), len(list(file.parent.iterdir()))
        (b'whole', 1)
    """
    neighbour = file.with_name(f".{file.name}.{uuid.uuid4().hex[:12]}{PART}")
    try:
        with neighbour.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(neighbour, file)
    finally:
        neighbour.unlink(missing_ok=True)
