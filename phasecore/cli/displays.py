"""Showing several trainings, one after the other or side by side, in one place of the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from phasecore.cli.consoles import can_redraw, make_console
from phasecore.cli.progress import ConsoleDisplay, LiveDisplay, PlainDisplay
from phasecore.runs.attempts import Ended, Failure

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


@final
class ConsoleDisplays:
    """The trainings that go on, live below what is printed; elsewhere than on a terminal, lines with their labels.

    A context manager: leaving it leaves the terminal in order.

    Args:
        labels: what each training is called.
        console: rich's; None takes standard error.
    """

    def __init__(self, labels: Sequence[str], console: Console | None = None) -> None:
        self.console = console or make_console(stderr=True)
        self._labels = labels
        self._open: dict[int, ConsoleDisplay] = {}
        self._done = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if can_redraw(self.console):
            from rich.live import Live

            self._live = Live(get_renderable=self.rendered, console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, place: int) -> ConsoleDisplay:
        """Return who shows a training, which begins now."""
        kind = PlainDisplay if self._live is None else LiveDisplay
        self._open[place] = kind(self.console, self._labels[place])
        return self._open[place]

    def end(self, place: int, ended: Ended) -> None:
        """Take a training away that has ended, and say so if it failed."""
        self._open.pop(place, None)
        self._done += 1
        if isinstance(ended, Failure):
            text = f"{self._labels[place]} failed: {ended.reason}"
            self.console.print(text, style="bold red", markup=False, soft_wrap=True)

    def said(self, message: str) -> None:
        """Print what concerns all."""
        self.console.print(message, markup=False, soft_wrap=True)

    def rendered(self) -> RenderableType:
        """Return the lines of the trainings that go on."""
        from rich.console import Group

        shown = [display.rendered() for _, display in sorted(self._open.items()) if isinstance(display, LiveDisplay)]
        count = f"{self._done} of {len(self._labels)} networks done"
        return Group(*shown, count) if len(shown) > 1 else Group(*shown)
