"""Disks that fail on demand: every byte that phasecore writes goes through `phasecore.files.Stream`."""

import errno
import os

from phasecore import files


class Disk:
    """Room for so many bytes more; what does not fit is written in part, as a real disk does, then refused."""

    def __init__(self, monkeypatch):
        self.room = None
        self.error = errno.ENOSPC
        whole = files.Stream.write
        disk = self

        def write(stream, content):
            content = memoryview(content).cast("B")
            if disk.room is not None and disk.room <= 0:
                stream.failure = OSError(disk.error, os.strerror(disk.error))
                raise stream.failure
            fits = len(content) if disk.room is None else min(len(content), disk.room)
            written = whole(stream, content[:fits])
            disk.room = None if disk.room is None else disk.room - written
            return written

        monkeypatch.setattr(files.Stream, "write", write)

    def fill(self, room=0, error=errno.ENOSPC):
        self.room, self.error = room, error

    def free(self):
        self.room = None
