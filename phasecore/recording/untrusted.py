"""Reading files that anybody may have written: of bounded size, and nothing in them is executed."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError

MOST_TEXT = 2**30
"""Bytes of a history or a curve: a million captures of a hundred columns."""

MOST_DOCUMENT = 2**24
"""Bytes of `run.json` and its like, which hold some thousand at most."""

MOST_ARRAYS = 2**30
"""Bytes of the arrays of a snapshot, before they were compressed."""

MOST_MEMBERS = 10_000
"""Arrays in one archive."""

DEEPEST = 32
"""How deep JSON is nested at most; what phasecore writes has five levels."""


def read_bytes(file: Path, most: int) -> bytes:
    """Return what a file holds.

    Raises:
        InputError: if it is none, as a pipe or a device is, holds more than so many bytes, or cannot be read.
    """
    try:
        # a pipe is not waited for
        with open(
            os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"cannot read {file}", received="no regular file", expected="a file")
            check_size(file, found.st_size, most)
            return stream.read(most + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {file}", received=str(error), expected="a file that can be read") from None


def check_size(file: Path, size: int, most: int, what: str = "file") -> None:
    """Refuse what is larger than such files ever are.

    Raises:
        InputError: naming the file.
    """
    if size > most:
        raise InputError(
            f"cannot read {file}",
            received=f"a {what} of {size} bytes",
            expected=f"at most {most}, as no such file has more",
        )


def read_text(file: Path, most: int, what: str) -> str:
    """Return the text of a file in UTF-8.

    Args:
        file: any.
        most: bytes.
        what: it is expected to be.

    Raises:
        InputError: as `read_bytes`, or if it is no UTF-8.
    """
    try:
        return read_bytes(file, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {file}", received=str(error), expected=f"{what} in UTF-8") from None


def parsed(text: str) -> Any:
    """Return what a JSON text stands for.

    Raises:
        ValueError: if it is none, is nested too deep, or has a number of thousands of digits.

    Example:
        >>> parsed('{"snr": [1, 2]}')
        {'snr': [1, 2]}
        >>> try:
        ...     parsed("[" * 100_000)
        ... except ValueError as error:
        ...     print(error)
        JSON that is nested too deep
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    level = [document]
    for _ in range(DEEPEST):
        level = [inner for item in level for inner in _within(item)]
        if not level:
            return document
    raise ValueError("JSON that is nested too deep")


def _within(item: Any) -> Iterator[Any]:
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return (value for value in inner if isinstance(value, dict | list))


def read_arrays(file: Path, most: int = MOST_ARRAYS) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` file by name; objects, which could execute code, are refused.

    Raises:
        InputError: if it is no such file, or its arrays take more than so many bytes.
    """
    try:
        check_archive(file, most)
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            # numpy hands over as bytes what is no array
            odd = next((name for name, values in found.items() if not isinstance(values, np.ndarray)), None)
            if odd is not None:
                raise InputError(f"cannot read {file}", received=f"{odd!r}, which is no array", expected="arrays")
            return found
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        raise InputError(f"cannot read {file}", received=_told(error), expected="a file of arrays") from None


def check_archive(file: Path, most: int = MOST_ARRAYS) -> None:
    """Refuse an archive that would take more memory than such archives do, by the sizes that it declares.

    Neither zipfile nor torch reads more of a member than it declares.

    Raises:
        InputError: if so, or if it is no archive.
    """
    try:
        if not file.is_file():
            raise InputError(f"cannot read {file}", received="no regular file", expected="an archive")
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot read {file}", received=_told(error), expected="an archive") from None
    if len(members) > MOST_MEMBERS:
        raise InputError(f"cannot read {file}", received=f"{len(members)} members", expected=f"at most {MOST_MEMBERS}")
    check_size(file, sum(member.file_size for member in members), most, "content")


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
