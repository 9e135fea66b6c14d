"""Text files with a row per line and cells between delimiters, as other tools write them.

Read are commas, semicolons (with decimal commas), tabs and runs of spaces; quoted cells; lines of comment, of which the
last before the numbers may be the header; a header that is repeated where a training was resumed; and no header.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from phasecore.errors import InputError

COMMENT = "#"
DELIMITERS = ("\t", ";", ",")
NOT_RECORDED = frozenset({"", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "-", "--", "missing"})
SPELLINGS = {
    "nan(ind)": math.nan,
    "-nan(ind)": math.nan,
    "1.#qnan": math.nan,
    "1.#ind": math.nan,
    "-1.#ind": math.nan,
    "1.#inf": math.inf,
    "-1.#inf": -math.inf,
}


class Table(NamedTuple):
    """What a file holds, before anything is made of it.

    Args:
        names: of the columns, in order.
        rows: the number of each line, and its cells by column; a cell that is not there was not recorded.
        listing: the columns in words, for messages.
        decimal_comma: whether a comma in a number is a decimal one: not where commas separate the cells.
    """

    names: list[str]
    rows: list[tuple[int, dict[str, Any]]]
    listing: str
    decimal_comma: bool = False


def read_table(file: Path, text: str) -> Table:
    r"""Return the cells of a text file, as text.

    Raises:
        InputError: for a line with too many or too few cells, or a name that two columns have; the message names the
            line. A last line without an end that has too few was cut off when the process was killed, and is left out.

    Example:
        >>> read_table(Path("mine.csv"), "# step snr\n1 10.0\n2 9.5\n").rows
        [(2, {'step': '1', 'snr': '10.0'}), (3, {'step': '2', 'snr': '9.5'})]
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    delimiter = None
    if declared := re.fullmatch(r"sep=(.)", lines[0].strip()):
        delimiter, lines[0] = declared[1], ""
    comments = [line.strip().lstrip(COMMENT) for line in lines if line.lstrip().startswith(COMMENT)]
    lines = ["" if line.lstrip().startswith(COMMENT) else line for line in lines]
    filled = [place for place, line in enumerate(lines) if line.strip()]
    if not filled:
        raise InputError(f"{file} has no rows", expected="a header and one line per capture")
    start = filled[0]
    delimiter = delimiter or _delimiter_of([lines[place] for place in filled[:2]])
    names = next(_cells(lines[start:], delimiter))[1]
    listing = ", ".join(name for name in names if name)
    if all(_is_number(name) for name in names):
        names, listing = _named(len(names), comments)
    else:
        start += 1
    duplicated = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if duplicated:
        raise InputError(
            f"{file}, line {filled[0] + 1}", received=f"column {duplicated[0]!r} twice", expected="distinct names"
        )
    rows = []
    for number, cells in _cells(lines[start:], delimiter):
        line = start + number
        if cells == names or not any(cells):
            continue
        if len(cells) < len(names) and line == len(lines):
            break
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise InputError(
                f"{file}, line {line}",
                received=f"{len(cells)} cells",
                expected=f"{len(names)}, one per column of the header",
            )
        rows.append((line, dict(zip(names, cells, strict=False))))
    return Table(names, rows, listing, decimal_comma=delimiter != ",")


def number_of(value: Any, *, decimal_comma: bool = False) -> float | None:
    """Return the number that a cell or a JSON value stands for, or None for one that was not recorded.

    Args:
        value: text or a number, as other tools write them.
        decimal_comma: whether a comma may be a decimal one.

    Raises:
        ValueError: if it is none.

    Example:
        >>> number_of("1.5e-3"), number_of("n/a"), number_of("Infinity"), number_of("0,25", decimal_comma=True)
        (0.0015, None, inf, 0.25)
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(value)
    with contextlib.suppress(ValueError):
        try:
            return float(value)
        except OverflowError:  # a whole number of hundreds of digits
            return -math.inf if str(value).startswith("-") else math.inf
    text = str(value).strip().lower()
    if text in NOT_RECORDED:
        return None
    if text in SPELLINGS:
        return SPELLINGS[text]
    if decimal_comma and "," in text:
        text = text.replace(".", "") if text.rfind(".") < text.rfind(",") else text
        text = text.replace(",", "." if text.count(",") == 1 and "." not in text else "")
    return float(text)


def _named(columns: int, comments: list[str]) -> tuple[list[str], str]:
    """Return names for columns without any, and a listing: those of the last comment, or else their numbers."""
    titles = next(_cells(comments[-1:], _delimiter_of(comments[-1:])), (0, []))[1] if comments else []
    if len(titles) == columns:
        return titles, ", ".join(titles)
    names = [*titles[:1], *(str(place) for place in range(len(titles[:1]) + 1, columns + 1))]
    return names, f"{', '.join(names)} ({f'under the header {comments[-1].strip()}' if titles else 'without names'})"


def _is_number(text: str) -> bool:
    try:
        return number_of(text, decimal_comma=True) is not None
    except ValueError:
        return False


def _delimiter_of(lines: list[str]) -> str:
    """Return what separates the cells of the first lines: whatever gives most, as many in each; or spaces, as ''."""

    def cells(delimiter: str) -> list[int]:
        return [len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))) for line in lines]

    counts = {delimiter: cells(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: (len(set(counts[delimiter])) == 1, counts[delimiter][0]))
    if counts[best][0] == 1:
        best = max(DELIMITERS, key=lambda delimiter: counts[delimiter][0])
    return best if counts[best][0] > 1 else "" if len(lines[0].split()) > 1 else ","


def _cells(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number, from 1, and the cells of each line that is not blank."""
    if not delimiter:
        yield from ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())
        return
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    for cells in reader:
        if cells:
            yield reader.line_num, [cell.strip() for cell in cells]
