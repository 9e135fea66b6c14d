"""Rows in the order of their steps: what other tools repeat, resume or leave unsorted.

Each column is put in order by itself, since tools write the columns of one step into several lines. Where its steps go
back now and then, the training was resumed: what was recorded before from that step on is replaced. Where they go back
all the time, the rows are unsorted, and are sorted. A step that is there twice with one value counts once; with a
number and NaN it has the number, and with two numbers it is refused.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence

from phasecore.errors import InputError

UNSORTED = 3
"""Rows between two steps back, on average, that are too few for a training that was resumed."""

MOST_RESUMED = 1000
"""Times that a training was resumed at most."""


def in_order(
    steps: Sequence[float | None], columns: Mapping[str, Sequence[float | None]]
) -> tuple[dict[str, list[float | None]], list[str]]:
    """Return the columns, "iteration" first, one row per step, and what a person should know of it.

    Rows that have neither a step nor a finite value are left out: nothing was captured there.

    Args:
        steps: of the rows, None or NaN where a row has none.
        columns: values, None where not recorded; as many as steps.

    Raises:
        InputError: for a step that is repeated with another value, or a value without a step.

    Example:
        >>> columns = {"snr": [9.0, None, 8.0, 7.0, 6.0, 5.0, 4.0], "adam_snr": [None, 1.0] + [None] * 5}
        >>> in_order([1, 1, 2, 3, 4, 3, 4], columns)[0]
        {'iteration': [1.0, 2.0, 3.0, 4.0], 'snr': [9.0, 8.0, 5.0, 4.0], 'adam_snr': [1.0, None, None, None]}
    """
    kept = [place for place, step in enumerate(steps) if _is_step(step) or _finite_in(columns, place)]
    for place in kept:
        if not _is_step(steps[place]):
            raise InputError(
                f"iteration in row {place + 1}", received="nan", expected="one, since the row has other values"
            )
    notes: list[str] = []
    ordered = {}
    for name, values in columns.items():
        series = [(place, float(steps[place] or 0.0), value) for place in kept if (value := values[place]) is not None]
        ordered[name] = _column(name, series, notes)
    empty = [steps[place] for place in kept if all(values[place] is None for values in columns.values())]
    union = sorted(
        {step for column in ordered.values() for step in column} | {step for step in empty if step is not None}
    )
    table: dict[str, list[float | None]] = {"iteration": list(union)}
    table |= {name: [column.get(step) for step in union] for name, column in ordered.items()}
    return table, list(dict.fromkeys(notes))


def _column(name: str, series: Sequence[tuple[int, float, float]], notes: list[str]) -> dict[float, float]:
    """Return one column by step."""
    parts: list[list[tuple[int, float, float]]] = []
    for item in series:
        if not parts or item[1] < parts[-1][-1][1]:
            parts.append([])
        parts[-1].append(item)
    if len(parts) > min(1 + MOST_RESUMED, len(series) / UNSORTED):
        parts = [sorted(series, key=lambda item: item[1])]
    kept: list[tuple[int, float, float]] = []
    for part in parts:
        begin, end = part[0][1], part[-1][1]
        place = bisect.bisect_left(kept, begin, key=lambda item: item[1])
        if place == bisect.bisect_right(kept, end, key=lambda item: item[1]):
            kept[place:place] = part
            continue
        if place < len(kept):
            notes.append(
                f"from row {part[0][0] + 1} on the iterations from {begin:.0f} to {kept[-1][1]:.0f} are there again, "
                "as after a training was resumed: the later rows count"
            )
        del kept[place:]
        kept += part
    return _by_step(name, kept)


def _by_step(name: str, series: Sequence[tuple[int, float, float]]) -> dict[float, float]:
    column: dict[float, float] = {}
    for place, step, value in series:
        before = column.setdefault(step, value)
        if math.isnan(before):
            column[step] = value
        elif before != value and not math.isnan(value):
            raise InputError(
                f"iteration in row {place + 1} is repeated",
                received=f"{step:g} with {name} {before:g} and {value:g}",
                expected="one value per iteration",
                fix="Keep the rows of one run, or name the column of its steps: --columns iteration=NAME.",
            )
    return column


def _is_step(step: float | None) -> bool:
    return step is not None and not math.isnan(step)


def _finite_in(columns: Mapping[str, Sequence[float | None]], place: int) -> bool:
    return any((value := values[place]) is not None and math.isfinite(value) for values in columns.values())
