"""How a training ended, from its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phasecore.backends import Acted, Outcome
from phasecore.phases.rows import number_of
from phasecore.recording.history import acted_of, timeline_of


def outcome_of(
    rows: Sequence[Mapping[str, Any]],
    iterations: int,
    seconds: float | None = None,
    actions: Sequence[Acted] | None = None,
) -> Outcome:
    """Return how a training ended, from its rows; time and error are those of the last one.

    Args:
        rows: the history.
        iterations: how many were done.
        seconds: training time; by default that of the last row.
        actions: what policies had done; by default what the rows say.

    Example:
        >>> outcome_of([{"iteration": 10, "seconds": 0.5, "relative_l2_error": 0.25}], 12).relative_l2_error
        0.25
    """
    return Outcome(
        iterations=iterations,
        seconds=last(rows, "seconds") if seconds is None else seconds,
        relative_l2_error=last(rows, "relative_l2_error"),
        timeline=timeline_of(rows),
        rows=tuple(rows),
        actions=tuple(acted_of(rows) if actions is None else actions),
    )


def last(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return what the last row that has a column says: NaN if that is no number, or no row has it.

    Example:
        >>> last([{"snr": 2.0}, {"snr": 1.0}, {}], "snr"), last([{"snr": 2.0}, {"snr": None}], "snr"), last([], "snr")
        (1.0, nan, nan)
    """
    return number_of(next((row[name] for row in reversed(rows) if name in row), None))
