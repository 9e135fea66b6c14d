"""The history of a run: one JSON object per capture, appended and flushed, never half lost.

JSON has no NaN and no infinity, and strict parsers refuse them: both are written as null, and read back as
NaN. `pandas.read_json("history.jsonl", lines=True)` reads the file.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from phasecore.arguments import is_number, is_whole
from phasecore.backends import Acted
from phasecore.errors import InputError, PluginError, described
from phasecore.files import Growing, replacing
from phasecore.phases import Timeline, detect
from phasecore.phases.curve import Recorded
from phasecore.probes.checks import checked_row
from phasecore.recording.untrusted import MOST_TEXT, parsed, read_text

HISTORY = "history.jsonl"

LARGEST = 2**53
"""Iterations at most: more cannot be told apart as numbers."""

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
    text = read_text(file, MOST_TEXT, "a history")
    rows: list[Row] = []
    for number, row in parse_rows(file, text):
        if not is_whole(row.get("iteration"), least=0) or row["iteration"] > LARGEST:
            raise InputError(
                f"{file}, line {number}",
                received=json.dumps(row)[:60],
                expected='a JSON object with an integer "iteration"',
            )
        rows.append(row)
    return rows


def checked_capture(backend: str, row: Mapping[str, Any]) -> Row:
    """Return a capture as a row.

    Raises:
        PluginError: for anything but a mapping of name to number with a whole "iteration", naming the backend.

    Example:
        >>> checked_capture("torch", {"iteration": 10.0, "snr": 2.0})
        {'iteration': 10, 'snr': 2.0}
    """
    what = f"backend {backend!r}, row of the history"
    numbers = checked_row(what, row)
    if not numbers.get("iteration", math.nan).is_integer():
        raise PluginError(what, received=described(row), expected='a mapping with a whole "iteration"')
    return {**numbers, "iteration": int(numbers["iteration"])}


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
            row = parsed(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise InputError(f"{file}, line {number}", received=str(error), expected="one JSON object") from None
        if not isinstance(row, dict):
            raise InputError(f"{file}, line {number}", received=type(row).__name__, expected="one JSON object")
        yield number, row


def timeline_of(history: Recorded) -> Timeline:
    """Return the phases in a history; where it is no curve, a timeline that says why.

    Example:
        >>> timeline_of({"iteration": [1.0, 1.0], "snr": [2.0, 3.0]}).current is None
        True
    """
    try:
        return detect(history)
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
    return [Acted.of(item) for item in listed if isinstance(item, Mapping) and _is_record(item)]


def done_by_row(rows: Iterable[Mapping[str, Any]], actions: Iterable[Acted]) -> dict[int, list[dict[str, Any]]]:
    """Return what policies had done as the rows of a history have it: in the first row from its iteration on.

    Example:
        >>> done = Acted(7, "halving", "scale_learning_rate", 0.5, "diffusion declared")
        >>> found = done_by_row([{"iteration": 5}, {"iteration": 10}], [done])
        >>> {iteration: own[0]["iteration"] for iteration, own in found.items()}
        {10: 7}
    """
    iterations = [int(row["iteration"]) for row in rows]
    found: dict[int, list[dict[str, Any]]] = {}
    for acted in actions:
        place = bisect.bisect_left(iterations, acted.iteration)
        if place < len(iterations):
            found.setdefault(iterations[place], []).append(acted.to_json())
    return found


def _is_record(item: Mapping[str, Any]) -> bool:
    texts = all(isinstance(item.get(name), str) for name in ("policy", "action", "reason"))
    is_known = item.get("to") is None or isinstance(item["to"], str) or is_number(item["to"])
    return texts and is_known and is_whole(item.get("iteration"), least=0)


@final
class History:
    """Appends rows to a history file. What cannot be written waits, and is written with the next row that can be.

    Args:
        file: the history; made if absent, appended to otherwise.
        rows: returns all rows, for a file that vanished; by default those that wait.
    """

    def __init__(self, file: Path, rows: Callable[[], Iterable[Mapping[str, Any]]] | None = None) -> None:
        self.file = file
        self._lines = Growing(file)
        self._rows = rows
        self._read: list[Row] | None = None
        self._waiting: list[str] = []
        self._is_to_be_replaced = False

    @property
    def waiting(self) -> int:
        """How many rows could not be written yet."""
        return len(self._waiting)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row, in one go, and hand it to the operating system at once.

        Raises:
            OSError: if it cannot be written; it waits then.
        """
        self.add(row)
        self.write()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row that is to be written."""
        self._waiting.append(_line(row))

    def write(self) -> bool:
        """Write what waits, and return whether the file had vanished and was written anew.

        Raises:
            OSError: if it cannot be written; it goes on waiting, and no part of it is in the file.
        """
        is_gone = self._lines.is_gone() and not self._is_to_be_replaced
        if is_gone or self._is_to_be_replaced:
            whole = [_line(row) for row in self._rows()] if is_gone and self._rows is not None else self._waiting
            self._replace(whole)
        elif self._waiting:
            self._lines.add("".join(self._waiting))
        self._waiting = []
        return is_gone

    def read(self) -> None:
        """Read the rows that are there, to be gone on with.

        Raises:
            InputError: if they cannot be read.
        """
        self._read = read_rows(self.file)

    def late(self, iteration: int, *, restored: bool = False) -> int:
        """Return how many of the rows that were read would be dropped by going on from an iteration.

        Raises:
            InputError: if that would be all of them, as the training begins at iteration 0 and no state was restored.
        """
        rows = self._there()
        late = [row["iteration"] for row in rows if row["iteration"] > iteration]
        if late and iteration == 0 and not restored:
            raise InputError(
                f"resuming the history {self.file}",
                received=f"a training that begins at iteration 0, and {len(rows)} rows to iteration {late[-1]}",
                expected="a training whose state was restored",
                fix="Restore its state, or name another file. In Keras BackupAndRestore does; in DeepXDE "
                "model.restore leaves the iteration as it is: set model.train_state.iteration and "
                "model.train_state.step too.",
            )
        return len(late)

    def lacks(self, due: Iterable[int]) -> list[int]:
        """Return which of the iterations have no row among those that were read."""
        there = {row["iteration"] for row in self._there()}
        return [iteration for iteration in due if iteration not in there]

    def cut(self, iteration: int) -> list[Row]:
        """Drop the rows from an iteration on, and a half-written last line; return the rows that stay.

        The file is replaced in one step, so that it is whole at every moment.

        Raises:
            OSError: if it cannot be written; that waits then.
        """
        kept = self.keep_before(iteration)
        self.write()
        return kept

    def keep_before(self, iteration: int) -> list[Row]:
        """Return the rows that stay where those from an iteration on are dropped: the next row replaces the file."""
        kept = [row for row in self._there() if row["iteration"] < iteration]
        known = [] if self._rows is None else [plain(row) for row in self._rows() if row["iteration"] < iteration]
        # a state may hold rows that could not be written when it was saved
        kept = known if len(known) > len(kept) else kept
        self._read, self._is_to_be_replaced = None, True
        self._waiting = [*map(_line, kept), *self._waiting]
        return kept

    def go_back(self) -> None:
        """Hear that the rows are others now: those replace the file with the next row."""
        self._read, self._is_to_be_replaced = None, True
        self._waiting = [] if self._rows is None else [_line(row) for row in self._rows()]

    def close(self) -> None:
        """Close the file; a later row opens it again."""
        self._lines.close()

    def _there(self) -> list[Row]:
        if self._read is None:
            self._read = read_rows(self.file) if self.file.exists() else []
        return self._read

    def _replace(self, lines: list[str]) -> None:
        self._lines.close()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.file, "".join(lines))
        self._lines.take_as_it_is()
        self._is_to_be_replaced = False


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(plain(row), allow_nan=False) + "\n"


def replace_file(file: Path, text: str) -> None:
    """Write a text so that the file holds the old or the new one, never a part."""
    with replacing(file) as stream:
        stream.write(text.encode("utf-8"))
