"""A table of which nothing is cut, however narrow the terminal is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

from phasecore.cli import printable
from phasecore.reporting.wording import masked

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
    from rich.text import Text

ENDS = (r"(?= \()", r"(?<=\u2013)", r"(?<= )", r"(?<=[,/])", r"(?<==)")
"""Where a line may end, best first: before a bracket, after the dash of a range, a space, an option, its name."""

PROSE = ENDS[2:]
"""Likewise in columns of words."""

LONGEST = 12
"""Columns of the longest number: what is longer without a place where a line may end is a name."""


class Column(NamedTuple):
    """A column's title and its place beside others: `most` columns wide, `kept` as it is while others can give way."""

    title: Text
    justify: JustifyMethod
    kept: bool
    most: int | None


@final
class WholeTable:
    """A table for rich to print. Texts are taken as they are: what users and plugins wrote is no markup.

    Where it is too wide, cells are folded, and numbers stay whole. Where even the longest numbers do not fit beside
    one another, each row is a list.

    Args:
        gap: spaces between columns.
        has_header: whether the titles of the columns are shown.
        caption: what stands below.
    """

    def __init__(self, *, gap: int = 3, has_header: bool = True, caption: str = "") -> None:
        self.gap = gap
        self.has_header = has_header
        self.caption = caption
        self.columns: list[Column] = []
        self.rows: list[tuple[Sequence[Text], str | None]] = []

    def add_column(
        self, title: str | Text = "", justify: JustifyMethod = "right", *, kept: bool = False, most: int | None = None
    ) -> None:
        """Add a column.

        Args:
            title: above it.
            justify: to which side its cells are moved.
            kept: whether it gives way last.
            most: how wide it is at most.
        """
        self.columns.append(Column(_text(title), justify, kept, most))

    def add_row(self, *cells: str | Text, style: str | None = None) -> None:
        """Add a row, with as many cells as there are columns."""
        self.rows.append(([_text(cell) for cell in cells], style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table

        widths = self._widths(options.max_width)
        if widths is None:
            yield from self._lists(options.max_width)
            return
        padding = (0, self.gap, 0, 0)
        table = Table(box=None, pad_edge=False, padding=padding, show_header=self.has_header)
        table.caption = self.caption or None
        for column, width in zip(self.columns, widths, strict=True):
            table.add_column(_folded(column.title, width, column), justify=column.justify, overflow="fold")
        for cells, style in self.rows:
            table.add_row(*map(_folded, cells, widths, self.columns), style=style)
        yield table

    def _widths(self, room: int) -> list[int] | None:
        """The columns' widths, None where numbers would have to be cut: the widest gives way first."""
        from rich.cells import cell_len

        widths: list[int] = []
        least: list[int] = []
        for place, column in enumerate(self.columns):
            cells = [cells[place].plain for cells, _ in self.rows]
            width = max(map(cell_len, [column.title.plain, *cells]))
            widths.append(min(width, column.most or width))
            ends = ENDS if column.justify == "left" else ENDS[:2]  # a time is better not folded
            pieces = [*_pieces([column.title.plain], ENDS), *_pieces(cells, ends)]
            least.append(min(max(map(cell_len, pieces)), LONGEST, widths[-1]))
        room -= self.gap * (len(widths) - 1)
        if sum(least) > room:
            return None
        while sum(widths) > room:
            able = [place for place, width in enumerate(widths) if width > least[place]]
            able = [place for place in able if not self.columns[place].kept] or able
            widths[max(able, key=widths.__getitem__)] -= 1
        return widths

    def _lists(self, width: int) -> Iterator[RenderableType]:
        from rich.text import Text

        for (first, *rest), style in self.rows:
            yield _folded(Text(first.plain, style or first.style), width, self.columns[0])
            for column, cell in zip(self.columns[1:], rest, strict=True):
                title = f"{column.title.plain}: " if column.title and self.has_header else ""
                if cell:
                    line = Text(f"  {title}{cell.plain}", style or cell.style or column.title.style)
                    yield _folded(line, width, self.columns[0])
        if self.caption:
            yield Text(self.caption, "dim")


def folded(text: str, width: int, ends: Sequence[str] = ENDS) -> list[str]:
    r"""Return a text in lines of at most a width.

    Args:
        text: whose indentation the first line keeps.
        width: in columns of a terminal.
        ends: regular expressions of the places where a line may end, best first; it ends anywhere where none helps.

    Example:
        >>> folded("1 h 02 min\u20131 h 05 min", 12) == ["1 h 02 min\u2013", "1 h 05 min"]
        True
        >>> folded("0.1 (0.01-0.2)", 10), folded("phasecore", 5)
        (['0.1', '(0.01-0.2)'], ['phase', 'core'])
    """
    from rich.cells import cell_len, chop_cells

    if cell_len(text) <= width:
        return [text]
    if not ends:
        return chop_cells(text, width)
    lines = [""]
    for part in re.split(ends[0], text):
        if cell_len(f"{lines[-1]}{part}".rstrip()) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    first, *rest = [line for line in lines if line.strip()]
    return [
        line for whole in [first.rstrip(), *(line.strip() for line in rest)] for line in folded(whole, width, ends[1:])
    ]


def _pieces(texts: Sequence[str], ends: Sequence[str]) -> list[str]:
    return [piece.strip() for text in texts for piece in re.split("|".join(ends), text)]


def _text(cell: str | Text) -> Text:
    from rich.text import Text

    plain, style = (cell, "") if isinstance(cell, str) else (cell.plain, cell.style)
    return Text(printable(masked(plain)).expandtabs(), style)


def _folded(text: Text, width: int, column: Column) -> Text:
    from rich.text import Text

    ends = ENDS if column.justify == "right" else PROSE
    lines = [line for own in text.plain.split("\n") for line in folded(own, width, ends)]
    return Text("\n".join(lines), text.style)
