"""Going back to an earlier state within one training: what its files hold of later is void once it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from phasecore.backends import Acted
from phasecore.recording.record import Record

Row = Mapping[str, Any]


@final
class GoingBack:
    """Keeps which state was gone back to until the training goes on from it: until then the files stay as they are.

    A state is also loaded to be looked at; nothing is lost by that.
    """

    def __init__(self) -> None:
        self._iteration: int | None = None
        self.left: tuple[Sequence[Row], Sequence[Acted]] = [], []

    def to(self, iteration: int | None, rows: Sequence[Row], left: tuple[Sequence[Row], Sequence[Acted]]) -> None:
        """Hear of a state that was gone back to; several may be, one after the other.

        Args:
            iteration: its iteration, by default that of its last row.
            rows: that it has.
            left: the rows that there were, and what policies had done; also an attribute.
        """
        if self._iteration is None:
            self.left = left
        last = int(rows[-1]["iteration"]) if rows else 0
        self._iteration = last if iteration is None else iteration

    def is_at(self, iteration: int) -> bool:
        """Return whether a state was gone back to, and no iteration was made since."""
        return self._iteration is not None and iteration <= self._iteration

    def carry_out(self, record: Record) -> list[str] | None:
        """Have the files forget what came later; return, in words, what they lose, or None where nobody went back."""
        if self._iteration is None:
            return None
        iteration, self._iteration = self._iteration, None
        count = sum(int(row["iteration"]) > iteration for row in self.left[0])
        self.left = [], []
        return record.go_back(iteration, count)
