"""Reading a recorded curve from a run folder, a history, or a file that another tool wrote."""

from __future__ import annotations

import codecs
import csv
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phasecore.errors import InputError
from phasecore.phases.curve import Curve
from phasecore.recording.column_names import as_columns, choose_columns
from phasecore.recording.delimited import Table, number_of, read_table
from phasecore.recording.history import HISTORY, parse_rows
from phasecore.recording.row_order import in_order
from phasecore.recording.thousands import UnclearStepError, without_thousands
from phasecore.recording.untrusted import MOST_TEXT, parsed, read_bytes

LINES_OF_JSON = frozenset({".jsonl", ".ndjson"})
SCALARS = ("Wall time", "Step", "Value")


def read_curve(path: str | Path, columns: Mapping[str, str] | None = None) -> Curve:
    r"""Read the curve of a training.

    Args:
        path: a run folder (its `history.jsonl` is read), a `history.jsonl`, or what another tool wrote: a text file
            with a header, or JSON, an object per line or in one list. A last line that was cut off when the process was
            killed is left out. Rows of one step are put together; those that a resumed training replaced are left out,
            with a warning.
        columns: our names of columns and those of the file, where it calls them otherwise; names that end in ours, such
            as "train/snr", are found without. A number stands for a place, from 1, where no column has it as a name.

    Raises:
        InputError: the file does not exist, cannot be read, holds a bad line or column, or lacks what is needed; the
            message names it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "curve.csv").write_text("iteration,snr\n1,10.0\n2,\n3,0.1\n")
        >>> read_curve(folder / "curve.csv").captures
        3
    """
    path = Path(path)
    file = path / HISTORY if path.is_dir() else path
    if not file.exists():
        raise InputError(
            f"no curve at {path}",
            received=f"a folder without {HISTORY}" if path.is_dir() else "a path that does not exist",
            expected="a CSV file with a header, a run folder, or a history.jsonl",
        )
    text = _text(file)
    is_json = file.suffix in LINES_OF_JSON or text.lstrip()[:1] in {"{", "["}
    try:
        table = as_columns(file, _json_table(file, text) if is_json else read_table(file, text))
    except InputError:
        raise
    except (csv.Error, TypeError, ValueError) as error:  # of csv where "sep=" names what cannot separate
        raise InputError(f"cannot read {file}", received=str(error), expected="one row per line") from None
    chosen = choose_columns(file, table, columns or {})
    numbers = _numbers(file, table, chosen, is_json=is_json)
    steps = numbers.pop("iteration")
    try:
        if file.name == HISTORY:
            return Curve.from_columns({"iteration": [math.nan if step is None else step for step in steps], **numbers})
        ordered, notes = in_order(steps, numbers)
        curve = Curve.from_columns(ordered)
    except InputError as error:
        raise InputError(f"{file}: {str(error).rstrip('.')}") from None
    for note in notes:
        warnings.warn(f"{file}: {note}", stacklevel=2)
    return curve


def _text(file: Path) -> str:
    content = read_bytes(file, MOST_TEXT)
    try:
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {file}", received=str(error), expected="a text file in UTF-8") from None
    if not text.strip():
        raise InputError(f"{file} is empty", expected="a header and one line per capture")
    return text


def _json_table(file: Path, text: str) -> Table:
    """Return the objects of a file, one per line or all in one list; TensorBoard's lists have no names."""
    if text.lstrip().startswith("["):
        try:
            items = parsed(text)
        except ValueError as error:
            raise InputError(f"cannot read {file}", received=str(error), expected="a list of JSON objects") from None
        objects = [dict(zip(SCALARS, item, strict=False)) if isinstance(item, list) else item for item in items]
        rows = list(enumerate(objects, start=1))
        bad = next((number for number, row in rows if not isinstance(row, dict)), None)
        if bad is not None:
            raise InputError(f"{file}, item {bad}", received=type(items[bad - 1]).__name__, expected="a JSON object")
    else:
        rows = list(parse_rows(file, text))
    names = list(dict.fromkeys(["iteration"] * (file.name == HISTORY) + [name for _, row in rows for name in row]))
    return Table(names, rows, ", ".join(names))


def _numbers(file: Path, table: Table, chosen: Mapping[str, str], *, is_json: bool) -> dict[str, list[float | None]]:
    """Return the values of the columns under our names.

    Null is how a history writes a number that is none; elsewhere it is what was not recorded.
    """
    lost = math.nan if is_json and chosen["iteration"] == "iteration" else None
    numbers: dict[str, list[float | None]] = {ours: [] for ours in chosen}
    steps = _steps(file, table, chosen)
    for place, (line, row) in enumerate(table.rows):
        for ours, theirs in chosen.items():
            value = steps[place] if ours == "iteration" else row.get(theirs)
            try:
                number = number_of(value, decimal_comma=table.decimal_comma)
            except ValueError:
                what = f"{file}, line {line}, {'' if is_json else 'column '}{theirs!r}"
                raise InputError(what, received=repr(value), expected="a number") from None
            numbers[ours].append(lost if value is None and theirs in row else number)
    return numbers


def _steps(file: Path, table: Table, chosen: Mapping[str, str]) -> Sequence[Any]:
    """Return the cells of the column of steps, without thousands separators."""
    name = chosen["iteration"]
    others = (row.get(theirs) for _, row in table.rows for ours, theirs in chosen.items() if ours != "iteration")
    try:
        return without_thousands([row.get(name) for _, row in table.rows], others)
    except UnclearStepError as error:
        line, row = table.rows[error.place]
        raise InputError(
            f"{file}, line {line}, {name!r}",
            received=f"{row[name]!r}, which may be thousands or have decimals",
            expected="whole numbers without separators, or with them in all of the column that need one",
            fix="Write the steps as whole numbers, such as 12000.",
        ) from None
