"""Where the commands print: text that commands no terminal, and displays that are redrawn on terminals alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

import click

from phasecore.cli import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

PIPE_WIDTH = 100
"""Columns of a table that goes into a file or a pipe."""


def make_console(*, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """Return a console on which control characters are written out, and colons and brackets are no codes.

    Args:
        stderr: whether it prints on standard error.
        file: where it prints instead.
        width: in columns; None takes that of the terminal.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Safe(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for part in super().render(renderable, options):
                yield part if part.control else Segment(printable(part.text), part.style)

    return Safe(stderr=stderr, file=file, width=width, highlight=False, emoji=False)


def result_console() -> Console:
    """Return the console of results: as wide as the terminal, or as a table is at most."""
    console = make_console()
    return console if is_terminal(console) or "COLUMNS" in os.environ else make_console(width=PIPE_WIDTH)


def is_terminal(console: Console) -> bool:
    """Return whether a console prints on a terminal; that colours are asked for makes none of a file."""
    try:
        return console.file.isatty()
    except (AttributeError, ValueError):  # no file of Python's, or a closed one
        return False


def can_redraw(console: Console) -> bool:
    """Return whether a console prints on a terminal on which the cursor can be moved."""
    return is_terminal(console) and console.is_interactive


def tell(message: str) -> None:
    """Print a message on standard error; control characters are written out."""
    click.echo(printable(message), err=True)
