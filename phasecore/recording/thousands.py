"""Steps that are written with thousands separators, such as "12,000", told from those with decimals, such as "12.000".

One cell cannot tell: its column does, and what the other columns take for a decimal mark. Where they do not, the step
is refused, as one that is read as a thousandth of itself moves every phase.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

MARKS = ".,"
"""What is a decimal mark in some files, and a thousands separator in others."""

_GROUPED = re.compile("[+-]?[1-9][0-9]{0,2}(?:([.,'\u2019 \u00a0\u2009\u202f])[0-9]{3})(?:\\1[0-9]{3})*")
_WITH_MARK = re.compile("[+-]?[0-9.,]*?([.,])[0-9]*(?:[eE][+-]?[0-9]+)?")
_THREE_DECIMALS = re.compile("[+-]?[0-9]+[.,][0-9]{3}")


class UnclearStepError(ValueError):
    """A step that may be a number of thousands, or one with decimals.

    Args:
        place: of its row.
    """

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def without_thousands(steps: Sequence[Any], others: Iterable[Any]) -> Sequence[Any]:
    """Return steps without thousands separators; those of a column that has none as they are.

    Args:
        steps: the cells of the column of steps.
        others: cells of other columns, which tell the decimal mark.

    Raises:
        UnclearStepError: for the first that could be either.

    Example:
        >>> without_thousands(["500", "1,000", "1,500,000"], ["0.5"])
        ['500', '1000', '1500000']
        >>> without_thousands(["500", "1.000"], ["0,5"]), without_thousands(["0.500", "1.000"], ["0.5"])
        (['500', '1000'], ['0.500', '1.000'])
    """
    grouped = {place: found[1] for place, cell in enumerate(steps) if (found := _grouped(cell))}
    if not grouped:
        return steps
    first, separator = next(iter(grouped.items()))
    if len(set(grouped.values())) > 1:
        raise UnclearStepError(first)
    if separator in MARKS:
        others = list(others)
        marks = _decimal_marks([*steps, *others]) or _weak_marks(others)
        if separator in marks:
            if marks == {separator} and (separator == "." or _has_three_decimals(steps)):
                return steps
            raise UnclearStepError(first)
        if separator == "." and not marks:
            raise UnclearStepError(first)
    mark = "," if separator == "." else "."
    form = re.compile(f"[+-]?[0-9]{{1,3}}(?:{re.escape(separator)}[0-9]{{3}})*(?:[{mark}][0-9]*)?")
    for place, cell in enumerate(steps):
        text = "" if cell is None else str(cell).strip()
        if any(letter.isdigit() for letter in text) and not form.fullmatch(text):
            raise UnclearStepError(first if place not in grouped else place)
    return [cell.replace(separator, "").replace(mark, ".") if isinstance(cell, str) else cell for cell in steps]


def _grouped(cell: Any) -> re.Match[str] | None:
    return _GROUPED.fullmatch(cell.strip()) if isinstance(cell, str) else None


def _decimal_marks(cells: Iterable[Any]) -> set[str]:
    """Return the marks of the numbers that are written with one that is no thousands separator."""
    found = (_WITH_MARK.fullmatch(cell.strip()) for cell in cells if isinstance(cell, str) and not _grouped(cell))
    return {match[1] for match in found if match} | ({"."} if any(isinstance(cell, float) for cell in cells) else set())


def _weak_marks(cells: Iterable[Any]) -> set[str]:
    """Return the marks of numbers that could be of thousands, where all are so: more likely they have decimals."""
    return {found[1] for cell in cells if (found := _grouped(cell)) and found[1] in MARKS}


def _has_three_decimals(steps: Sequence[Any]) -> bool:
    """Return whether all steps are written with three decimals, some of which are no number of thousands."""
    texts = [str(cell).strip() for cell in steps if cell is not None and any(letter.isdigit() for letter in str(cell))]
    return all(map(_THREE_DECIMALS.fullmatch, texts)) and not all(map(_grouped, texts))
