"""The history of a run: one JSON object per capture, appended and flushed, never half lost.

JSON has no NaN and no infinity, and strict parsers refuse them: both are written as null, and read back as
NaN. `pandas.read_json("history.jsonl", lines=True)` reads the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, final

import numpy as np
from numpy.typing import NDArray

from phasecore.arguments import is_number
from phasecore.backends import Acted
from phasecore.errors import InputError
from phasecore.files import replacing
from phasecore.phases import Timeline, detect
from phasecore.phases.curve import Column

HISTORY = "history.jsonl"

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dictionaries, lists, strings, numbers, booleans and null.

    NaN and infinity become None; what has no counterpart becomes its text.

    Example:
        >>> plain({"snr": np.float32(0.5), "error": math.nan, "shape": (2, np.int64(3))})
        {'snr': 0.5, 'error': None, 'shape': [2, 3]}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def read_rows(file: Path) -> list[Row]:
    """Return the rows of a history; a half-written last line, which a killed process leaves, is left out.

    Raises:
        InputError: if the file cannot be read, or any other line is not a JSON object with an "iteration".
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}", received=str(error), expected="a history in UTF-8") from None
    rows: list[Row] = []
    for number, row in parse_rows(file, text):
        if not isinstance(row.get("iteration"), int):
            raise InputError(
                f"{file}, line {number}",
                received=json.dumps(row)[:60],
                expected='a JSON object with an integer "iteration"',
            )
        rows.append(row)
    return rows


def parse_rows(file: Path, text: str) -> Iterator[tuple[int, Row]]:
    """Yield the number and the row of each line of a history; a half-written last line is left out.

    Raises:
        InputError: if any other line is not a JSON object.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise InputError(f"{file}, line {number}", received=str(error), expected="one JSON object") from None
        if not isinstance(row, dict):
            raise InputError(f"{file}, line {number}", received=type(row).__name__, expected="one JSON object")
        yield number, row


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    """Return each numeric column of the rows, shape (captures,), NaN where a row has no number.

    Example:
        >>> columns_of([{"iteration": 0, "snr": 2.0}, {"iteration": 10, "snr": None}])["snr"].tolist()
        [2.0, nan]
    """
    rows = list(rows)
    names = dict.fromkeys(
        name for row in rows for name, value in row.items() if value is None or isinstance(value, int | float)
    )
    return {name: np.asarray([_number(row.get(name)) for row in rows], dtype=np.float64) for name in names}


def recorded_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return each numeric column of the rows as the detector takes it: None where a row lacks it, NaN for null.

    Example:
        >>> recorded_columns([{"iteration": 0, "snr": 2.0}, {"iteration": 10, "snr": None}, {"iteration": 20}])["snr"]
        [2.0, nan, None]
    """
    rows = list(rows)
    return {name: [_number(row[name]) if name in row else None for row in rows] for name in columns_of(rows)}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def timeline_of(columns: Mapping[str, Column]) -> Timeline:
    """Return the phases in a history; where it is no curve, a timeline that says why.

    Example:
        >>> timeline_of({"iteration": [1.0, 1.0], "snr": [2.0, 3.0]}).current is None
        True
    """
    try:
        return detect(columns)
    except InputError as error:
        return Timeline((), None, f"cannot tell: {error}")


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a row, "iteration" apart.

    Example:
        >>> numbers_of({"iteration": 10, "snr": 0.5, "error": None, "layer_snr": {"first": 2, "last": math.nan}})
        {'snr': 0.5, 'layer_snr/first': 2.0}
    """
    return {name: float(value) for name, value in flat(row, "/") if name != "iteration" and is_number(value)}


def flat(values: Mapping[str, Any], separator: str) -> Iterator[tuple[str, Any]]:
    """Yield names and values of one level, nested names joined; places in lists are names.

    Example:
        >>> dict(flat({"a": {"b": 1}, "c": [2, 3]}, "/"))
        {'a/b': 1, 'c/0': 2, 'c/1': 3}
    """
    for name, value in values.items():
        if isinstance(value, list | tuple):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from ((f"{name}{separator}{inner}", item) for inner, item in flat(value, separator))
        else:
            yield name, value


def acted_of(rows: Iterable[Mapping[str, Any]]) -> list[Acted]:
    """Return what policies had done, from the rows of a history; what is no record of it is left out.

    Example:
        >>> done = {"iteration": 10, "policy": "mine", "action": "stop", "to": None, "reason": "because"}
        >>> acted_of([{"iteration": 5}, {"iteration": 10, "actions": [done]}])[0].words
        'stop'
    """
    listed: list[Any] = []
    for row in rows:
        own = row.get("actions")
        listed += own if isinstance(own, list) else []
    return [Acted.of(item) for item in listed if isinstance(item, Mapping) and "action" in item]


@final
class History:
    """Appends rows to a history file.

    Args:
        file: the history; made if absent, appended to otherwise.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stream: TextIO | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, in one go, and hand it to the operating system at once."""
        if self._stream is None:
            self._stream = self._file.open("a", encoding="utf-8", newline="\n")
        self._stream.write(json.dumps(plain(row), allow_nan=False) + "\n")
        self._stream.flush()

    def late(self, iteration: int) -> int:
        """Return how many rows would be dropped by going on from an iteration, and refuse to drop all.

        Raises:
            InputError: if the training begins at iteration 0, and there are rows.
        """
        rows = read_rows(self._file)
        late = [row["iteration"] for row in rows if row["iteration"] > iteration]
        if late and iteration == 0:
            raise InputError(
                f"resuming the history {self._file}",
                received=f"a training that begins at iteration 0, and {len(rows)} rows to iteration {late[-1]}",
                expected="a training whose state was restored",
                fix="Restore its state (in Keras with BackupAndRestore), or name another file.",
            )
        return len(late)

    def cut(self, iteration: int) -> list[Row]:
        """Drop the rows from an iteration on, and a half-written last line; return the rows that stay.

        The file is replaced in one step, so that it is whole at every moment.
        """
        self.close()
        kept = [row for row in read_rows(self._file) if row["iteration"] < iteration] if self._file.exists() else []
        replace_file(self._file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in kept))
        return kept

    def close(self) -> None:
        """Close the file; a later row opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def replace_file(file: Path, text: str) -> None:
    """Write a text so that the file holds the old or the new one, never a part."""
    with replacing(file) as stream:
        stream.write(text.encode("utf-8"))
