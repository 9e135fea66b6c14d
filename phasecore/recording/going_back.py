"""Going back to an earlier state within one training: what its files hold of later is void once it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from phasecore.recording.record import Record

Row = Mapping[str, Any]


@final
class GoingBack:
    """Keeps which state was gone back to until the training goes on from it: until then the files stay as they are.

    A state is also loaded to be looked at; nothing is lost by that.
    """

    def __init__(self) -> None:
        self._iteration: int | None = None
        self._left: list[int] = []

    def to(self, iteration: int | None, rows: Sequence[Row], before: Sequence[Row]) -> None:
        """Hear of a state that was gone back to; several may be, one after the other.

        Args:
            iteration: its iteration, by default that of its last row.
            rows: that it has.
            before: the rows that there were.
        """
        if self._iteration is None:
            self._left = [int(row["iteration"]) for row in before]
        last = int(rows[-1]["iteration"]) if rows else 0
        self._iteration = last if iteration is None else iteration

    def carry_out(self, record: Record) -> list[str] | None:
        """Have the files forget what came later; return, in words, what they lose, or None where nobody went back."""
        if self._iteration is None:
            return None
        iteration, self._iteration = self._iteration, None
        return record.go_back(iteration, sum(left > iteration for left in self._left))
