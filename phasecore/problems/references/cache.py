"""A cache of computed fields in the user's cache folder: one `.npz` file per name and set of parameters."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.files import replacing

Fields = dict[str, NDArray[Any]]

FORMAT_VERSION = 1
"""Part of every key: raise it when what is stored changes meaning, and old files are left alone."""

_KEY = "cache_key"
_warned_folders: set[str] = set()


def cached(name: str, parameters: Mapping[str, Any], compute: Callable[[], Mapping[str, NDArray[Any]]]) -> Fields:
    """Return the stored fields of this name and these parameters, or compute and store them.

    A file that cannot be read is computed again and overwritten, with a warning. A folder that cannot be
    written costs one warning per folder and process, and the fields are computed. Writing is atomic: processes
    that run at the same time never see half a file.

    Args:
        name: what the fields are, letters, digits, `_` and `-` only; it begins the file's name.
        parameters: everything that the fields depend on; values that JSON can hold, numpy numbers included.
        compute: returns the fields by name; called only when needed.

    Returns:
        Arrays by name, as `compute` returns them.

    Raises:
        InputError: for a name that is no plain file name, parameters that JSON cannot hold, or fields of objects.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.environ["PHASECORE_CACHE"] = folder
        ...     first = cached("squares", {"count": 3}, lambda: {"y": np.arange(3) ** 2})
        ...     again = cached("squares", {"count": 3}, lambda: {})
        ...     del os.environ["PHASECORE_CACHE"]
        >>> again["y"]
        array([0, 1, 4])
    """
    key = _key(name, parameters)
    try:
        path = cache_folder() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
        stored = _read(path, key) if path.is_file() else None
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        _warn_once(str(error), f"no cache folder ({error}); computing {name!r} anew")
        path, stored = None, None
    if stored is not None:
        return stored
    fields = {field: np.asarray(values) for field, values in compute().items()}
    if _KEY in fields or any(values.dtype.hasobject for values in fields.values()):
        raise InputError(f"cached fields {name!r}", expected=f"arrays of numbers, none named {_KEY!r}")
    if path is not None:
        try:
            _write(path, key, fields)
        except OSError as error:
            _warn_once(str(path.parent), f"cannot write the cache folder {path.parent} ({error})")
    return fields


def cache_folder() -> Path:
    """Return the folder that the files lie in; it may not exist yet.

    `PHASECORE_CACHE` if set, else that of the user's caches: `~/.cache/phasecore` or in `XDG_CACHE_HOME` on Linux,
    `~/Library/Caches/phasecore` on macOS, `phasecore/Cache` in `LOCALAPPDATA` on Windows.

    Raises:
        RuntimeError: if a home folder is needed and there is none.

    Example:
        >>> os.environ["PHASECORE_CACHE"] = "somewhere"
        >>> cache_folder().name
        'somewhere'
        >>> del os.environ["PHASECORE_CACHE"]
    """
    from platformdirs import user_cache_path

    chosen = os.environ.get("PHASECORE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    folder = user_cache_path("phasecore", appauthor=False)
    if not folder.is_absolute():
        raise RuntimeError(f"no home folder for {folder}")
    return folder


def _key(name: str, parameters: Mapping[str, Any]) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError("name of cached fields", received=repr(name), expected="letters, digits, '_' and '-'")

    def plain(value: object) -> object:
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"{type(value).__name__} {value!r}")

    try:
        return json.dumps([FORMAT_VERSION, name, dict(parameters)], sort_keys=True, default=plain)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"parameters of cached fields {name!r}", received=str(error), expected="values that JSON can hold"
        ) from None


def _read(path: Path, key: str) -> Fields | None:
    try:
        with zipfile.ZipFile(path) as archive:  # its `read`, unlike numpy's, always compares checksums
            fields = {
                file.removesuffix(".npy"): np.load(io.BytesIO(archive.read(file)), allow_pickle=False)
                for file in archive.namelist()
            }
        if str(fields.pop(_KEY)) != key:
            raise ValueError("it holds other parameters")
    except Exception as error:  # a damaged archive raises whatever its decoder stumbles over
        warnings.warn(
            f"cannot read the cached file {path} ({type(error).__name__}: {error}); it is computed again",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    return fields


def _write(path: Path, key: str, fields: Mapping[str, NDArray[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        np.savez_compressed(stream, **{_KEY: np.asarray(key)}, **fields)  # type: ignore[arg-type]


def _warn_once(topic: str, message: str) -> None:
    if topic not in _warned_folders:
        _warned_folders.add(topic)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
