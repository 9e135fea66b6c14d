"""Reading a recorded curve from a CSV file, a run folder or a history."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from phasecore.errors import InputError
from phasecore.phases.curve import Curve, is_known_column
from phasecore.runs.history import HISTORY, parse_rows


def read_curve(path: str | Path) -> Curve:
    r"""Read the curve of a training.

    Args:
        path: a CSV file with a header, a run folder (its `history.jsonl` is read), or a `history.jsonl`. In a
            history, a last line that was half written when the process was killed is left out.

    Raises:
        InputError: the file does not exist, cannot be read, or holds a bad line or column; the message names it.

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
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file}", received=str(error), expected="a text file in UTF-8") from None
    if not text.strip():
        raise InputError(f"{file} is empty", expected="a header and one line per capture")
    is_history = file.suffix in {".jsonl", ".ndjson"} or text.lstrip().startswith("{")
    columns = _history_columns(file, text) if is_history else _csv_columns(file, text)
    try:
        return Curve.from_columns(columns)
    except InputError as error:
        raise InputError(f"{file}: {str(error).rstrip('.')}") from None


def _csv_columns(file: Path, text: str) -> dict[str, list[float]]:
    rows = csv.reader(text.splitlines())
    header = [name.strip() for name in next(rows)]
    duplicated = sorted({name for name in header if header.count(name) > 1})
    if duplicated:
        raise InputError(f"{file}, line 1", received=f"column {duplicated[0]!r} twice", expected="distinct names")
    wanted = [(place, name) for place, name in enumerate(header) if name == "iteration" or is_known_column(name)]
    columns: dict[str, list[float]] = {name: [] for name in header}
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(
                f"{file}, line {rows.line_num}",
                received=f"{len(row)} cells",
                expected=f"{len(header)}, one per column of the header",
            )
        for place, name in wanted:
            cell = row[place].strip()
            try:
                columns[name].append(float(cell) if cell else math.nan)
            except ValueError:
                raise InputError(
                    f"{file}, line {rows.line_num}, column {name!r}", received=repr(cell), expected="a number"
                ) from None
    return columns


def _history_columns(file: Path, text: str) -> dict[str, list[float]]:
    captures = list(parse_rows(file, text))
    names = dict.fromkeys(name for _, capture in captures for name in capture)
    wanted = ["iteration", *(name for name in names if is_known_column(name))]
    columns: dict[str, list[float]] = {name: [] for name in [*wanted, *names]}
    for line, capture in captures:
        for name in wanted:
            values = columns[name]
            value = capture.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise InputError(f"{file}, line {line}, {name!r}", received=repr(value), expected="a number")
            values.append(math.nan if value is None else float(value))
    return columns
