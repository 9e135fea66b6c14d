"""The run folder: `run.json`, `history.jsonl`, `snapshots/`, `checkpoint/`, and `outcome.json` at the end."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.backends import Acted
from phasecore.errors import InputError, described
from phasecore.files import PART, replacing
from phasecore.phases.rows import columns_of, recorded_columns
from phasecore.recording.history import HISTORY, acted_of, plain, read_rows, replace_file
from phasecore.recording.untrusted import MOST_DOCUMENT, parsed, read_arrays, read_text

CONFIGURATION = "run.json"
OUTCOME = "outcome.json"
SNAPSHOTS = "snapshots"
CHECKPOINT = "checkpoint"
FAILURE = "failure"
"""Key of `run.json`: why the training could not go on; absent where it could."""
COMPARISON = "compare.json"
"""In the folder of a comparison, which holds run folders: what was asked for, and the names of those folders."""
_KINDS: dict[str, type] = {
    **dict.fromkeys(("problem", "backend", "weighting", "sampling", "preset", "policy", FAILURE), str),
    **dict.fromkeys(("problem_parameters", "settings", "problem_source"), dict),
    **dict.fromkeys(("probes", "loggers", "plugins", "resumed"), list),
    "seed": int,
}
"""What `run.json` holds under its keys, where it is not null."""

_SNAPSHOT = re.compile(r"iteration_([0-9]{8,15})\.npz")


@final
@dataclass(frozen=True)
class Run:
    """A run as its folder holds it, finished or not. Open one with `open_run`.

    Attributes:
        folder: where it is.
        configuration: what `run.json` says.
        history: each column of the history, shape (captures,), NaN where a capture has no finite value.
        outcome: what `outcome.json` says, or None if the run has not finished.
        snapshots: the iterations of the snapshots, ascending.
        recorded: the history as the detector takes it, None where a capture lacks a column.
        actions: what policies had done.
    """

    folder: Path
    configuration: Mapping[str, Any]
    history: Mapping[str, NDArray[np.float64]]
    outcome: Mapping[str, Any] | None
    snapshots: tuple[int, ...]
    recorded: Mapping[str, list[float | None]]
    actions: tuple[Acted, ...] = ()

    def snapshot(self, iteration: int) -> dict[str, NDArray[np.float64]]:
        """Return fields, residuals and weights by name, as they were after an iteration.

        Raises:
            InputError: if there is no snapshot of that iteration, or it cannot be read; the message names its file.
        """
        if iteration not in self.snapshots:
            raise InputError(
                f"snapshot of {self.folder}", received=iteration, expected=f"one of {list(self.snapshots)}"
            )
        file = snapshot_file(self.folder, iteration)
        try:
            arrays = read_arrays(file)
            odd = next((name for name, values in arrays.items() if values.dtype.kind not in "biuf"), None)
            if odd is not None:
                raise InputError(f"array {odd!r} of {file}", received=arrays[odd].dtype, expected="real numbers")
        except InputError as error:
            raise InputError(f"{str(error).rstrip('.')}. Delete it to go on without it") from None
        return arrays


def open_run(folder: str | Path) -> Run:
    r"""Read a run folder.

    Raises:
        InputError: if the folder holds no run, or one of its files cannot be read; the message names it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "run.json").write_text('{"problem": "helmholtz"}')
        >>> _ = (folder / "history.jsonl").write_text('{"iteration": 0, "snr": 2.0}\n{"iteration": 10, "sn')
        >>> run = open_run(folder)
        >>> run.configuration["problem"], run.history["snr"].tolist(), run.outcome
        ('helmholtz', [2.0], None)
    """
    folder = Path(folder)
    configuration = read_configuration(folder)
    history = folder / HISTORY
    names = sorted(path.name for path in (folder / SNAPSHOTS).glob("*.npz"))
    matches = [match for match in map(_SNAPSHOT.fullmatch, names) if match]
    rows = read_rows(history) if history.exists() else []
    try:
        columns, recorded = columns_of(rows), recorded_columns(rows)
    except InputError as error:
        raise InputError(f"{history}: {error}") from None
    return Run(
        folder,
        configuration,
        columns,
        read_json(folder / OUTCOME) if (folder / OUTCOME).exists() else None,
        tuple(sorted(int(match.group(1)) for match in matches)),
        recorded,
        tuple(acted_of(rows)),
    )


def slug(text: str) -> str:
    """Return a text as a folder's name.

    Example:
        >>> slug("rba:gamma=0.99,eta=0.01")
        'rba-gamma=0.99-eta=0.01'
    """
    return re.sub(r"[^\w.=-]", "_", re.sub(r"[:,]", "-", text))


def reserve_folder(name: str, parent: Path = Path("runs")) -> Path:
    """Make and return the first of `parent/name-1`, `parent/name-2`, ... that does not exist.

    Raises:
        InputError: if it cannot be made.
    """
    for number in itertools.count(1):
        folder = parent / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if folder.exists():
                continue
            raise InputError(f"cannot make {folder}", received="a parent that is a file") from None
        except OSError as error:
            raise InputError(f"cannot make {folder}", received=str(error), fix="Name another with --output.") from None
        return folder
    raise AssertionError("unreachable")


def check_free(folder: Path) -> None:
    """Refuse a folder that holds a run, or a part of one; the empty folders of a process killed at once are none.

    Raises:
        InputError: if it does, or if the path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder}", received="a file", expected="a folder, or a path that does not exist")
    for name in (CONFIGURATION, HISTORY, OUTCOME, SNAPSHOTS, CHECKPOINT):
        if _is_there(folder / name):
            raise InputError(
                f"output {folder} already holds a run",
                received=f"a folder with {name}",
                expected="a folder without one",
                fix="Choose another folder, or go on with that run: --resume. Nothing was overwritten.",
            )


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def create(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Make a run folder with its configuration.

    Raises:
        InputError: if the folder already holds a run, or cannot be made.
    """
    check_free(folder)
    try:
        (folder / CHECKPOINT).mkdir(parents=True, exist_ok=True)
        (folder / SNAPSHOTS).mkdir(exist_ok=True)
        write_json(folder / CONFIGURATION, configuration)
    except OSError as error:
        raise InputError(f"cannot make the run folder {folder}", received=str(error)) from None


def read_configuration(folder: Path) -> dict[str, Any]:
    """Return what `run.json` says.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    if not (folder / CONFIGURATION).is_file():
        raise InputError(f"no run at {folder}", expected=f"a folder with {CONFIGURATION}")
    document = read_json(folder / CONFIGURATION)
    for name, kind in _KINDS.items():
        if not isinstance(document.get(name), kind | None):
            raise InputError(
                f"{name!r} in {folder / CONFIGURATION}",
                received=described(document[name]),
                expected={dict: "a JSON object", list: "a list", str: "a text", int: "a whole number"}[kind],
            )
    return document


def read_json(file: Path) -> dict[str, Any]:
    """Return a file's JSON object.

    Raises:
        InputError: if it cannot be read or is not one.
    """
    text = read_text(file, MOST_DOCUMENT, "a JSON object")
    try:
        document = parsed(text)
    except ValueError as error:
        raise InputError(f"cannot read {file}", received=str(error), expected="a JSON object") from None
    if not isinstance(document, dict):
        raise InputError(f"cannot read {file}", received=type(document).__name__, expected="a JSON object")
    return document


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object so that the file holds the old or the new one, never a part."""
    replace_file(file, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")


def snapshot_file(folder: Path, iteration: int) -> Path:
    """Return the file of a snapshot: `snapshots/iteration_00001000.npz`."""
    return folder / SNAPSHOTS / f"iteration_{iteration:08d}.npz"


def without_end(folder: Path, configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove what says how the run in a folder ended, and return its configuration without that."""
    (folder / OUTCOME).unlink(missing_ok=True)
    kept = {name: value for name, value in configuration.items() if name != FAILURE}
    if len(kept) < len(configuration):
        write_json(folder / CONFIGURATION, kept)
    return kept


def later_snapshots(folder: Path, iteration: int, further: Iterable[Path] = ()) -> list[Path]:
    """Return the snapshots of a folder, and those among further files, that are of after an iteration."""
    files = {*(folder / SNAPSHOTS).glob("*.npz"), *further}
    matches = [(file, _SNAPSHOT.fullmatch(file.name)) for file in sorted(files)]
    return [file for file, match in matches if match and int(match.group(1)) > iteration]


def save_snapshot(folder: Path, iteration: int, arrays: Mapping[str, NDArray[np.float64]]) -> None:
    """Save arrays by name, in one step."""
    with replacing(snapshot_file(folder, iteration)) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def has_checkpoint(folder: Path) -> bool:
    """Return whether a backend has saved anything to go on from."""
    return any(not file.name.endswith((PART, ".partial")) for file in (folder / CHECKPOINT).glob("*"))
