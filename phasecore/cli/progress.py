"""Showing a training: live on a terminal, occasional plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from phasecore.backends import Acted, Outcome, Training
from phasecore.cli.consoles import can_redraw, make_console
from phasecore.phases import Phase, Timeline
from phasecore.recording.display import Display
from phasecore.reporting.palette import PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.wording import duration, number

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

LONGEST_SILENCE = 60.0
"""Seconds after which a plain line is printed even if less than a tenth of the iterations is done."""


def make_display(label: str = "") -> ConsoleDisplay:
    """Return the display that suits standard error.

    Args:
        label: what is trained, where several trainings follow each other.
    """
    console = make_console(stderr=True)
    return LiveDisplay(console, label) if can_redraw(console) else PlainDisplay(console, label)


class ConsoleDisplay(Display):
    """What both displays know of a training. A context manager: leaving it leaves the terminal in order.

    Args:
        console: rich's, on standard error.
        label: what is trained.
        clock: seconds, for the time left.
    """

    def __init__(self, console: Console, label: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console
        self.label = label
        self.clock = clock
        self.loss = math.nan
        self.row: Mapping[str, Any] = {}
        self.timeline: Timeline | None = None
        self._phase: Phase | None = None
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left", style="dim"),
            console=console,
            get_time=clock,
            speed_estimate_period=math.inf,
        )
        self._progress.add_task(label, total=None, visible=False)
        (self._task,) = self._progress.tasks

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, training: Training) -> None:
        """Say what is trained."""
        self._progress.update(self._task.id, total=training.settings.iterations, visible=True)
        self.console.print(describe(training), markup=False, soft_wrap=True)

    def resumed(self, iteration: int, folder: Path | None) -> None:
        """Say where the training goes on."""
        self._progress.reset(self._task.id, completed=iteration)
        where = f" from {folder}" if folder is not None else ""
        self.console.print(f"{self._prefix}resumed at iteration {iteration}{where}", markup=False, soft_wrap=True)

    def progressed(self, iteration: int, loss: float) -> None:
        """Take the iteration and loss."""
        self._progress.update(self._task.id, completed=iteration)
        self.loss = loss
        self.update(captured=False)

    def captured(self, row: Mapping[str, Any], timeline: Timeline) -> None:
        """Take the measured values and the phases so far."""
        self._progress.update(self._task.id, completed=int(row["iteration"]))
        self.row, self.timeline = {**self.row, **row}, timeline
        loss = row.get("training_loss", self.loss)
        self.loss = math.nan if loss is None else loss
        if timeline.transitions and timeline.current not in (self._phase, None):
            self.entered(timeline.current, timeline.transitions[-1].iteration)
        self._phase = timeline.current or self._phase
        self.update(captured=True)

    def acted(self, acted: Acted) -> None:
        """Say what a policy had done, and why."""
        self.console.print(
            f"{self._prefix}iteration {acted.iteration}: {acted.words} ({acted.policy}: {acted.reason})",
            style="bold",
            markup=False,
            soft_wrap=True,
        )

    def warned(self, message: str) -> None:
        """Print a warning."""
        self.console.print(f"Warning: {message}", style="yellow", markup=False, soft_wrap=True)

    def finished(self, outcome: Outcome) -> None:
        """Say how the training ended."""
        has_error = not math.isnan(outcome.relative_l2_error) or any("relative_l2_error" in row for row in outcome.rows)
        error = f", relative L2 error {number(outcome.relative_l2_error)}" if has_error else ""
        self.console.print(
            f"{self._prefix}done: {outcome.iterations} iterations in {duration(outcome.seconds)}{error}",
            markup=False,
            soft_wrap=True,
        )

    @abstractmethod
    def update(self, *, captured: bool) -> None:
        """Show what is known now, if it is time to.

        Args:
            captured: whether the measured values are those of this iteration.
        """

    def entered(self, phase: Phase | None, iteration: int) -> None:
        """Say that the online tracker declared a phase."""
        if phase is not None:
            from rich.text import Text

            text = Text(f"{self._prefix}iteration {self.iteration}: ")
            text.append(PHASE_NAMES[phase], style=PHASE_COLOURS[phase])
            self.console.print(text.append(f" since iteration {iteration}"), soft_wrap=True)

    @property
    def iteration(self) -> int:
        """The last iteration heard of."""
        return int(self._task.completed)

    @property
    def iterations(self) -> int:
        """How many there are to be, 0 before the start."""
        return int(self._task.total or 0)

    def seconds_left(self) -> float:
        """Return the time left at this session's pace, in seconds; NaN as long as there is none."""
        speed, remaining = self._task.speed, self._task.remaining
        return math.nan if not speed or remaining is None else remaining / speed

    def values(self) -> Text:
        """Return loss, error, SNR and phase on one line."""
        from rich.text import Text

        text = Text(f"loss {number(self.loss):<9}")
        if "relative_l2_error" in self.row:
            text.append(f" error {number(self.row.get('relative_l2_error')):<9}")
        text.append(f" SNR {number(self.row.get('snr')):<9} ")
        current = self.timeline.current if self.timeline else None
        if self.timeline is not None and self.timeline.nonfinite is not None:
            return text.append(f"not finite from iteration {self.timeline.nonfinite.iteration} on", style="bold red")
        if current is None:
            return text.append("phase not known yet", style="dim")
        return text.append(PHASE_NAMES[current], style=f"bold {PHASE_COLOURS[current]}")

    @property
    def _prefix(self) -> str:
        return f"{self.label}: " if self.label else ""


@final
class PlainDisplay(ConsoleDisplay):
    """A line at each tenth of the iterations, and about one a minute where those take longer."""

    _printed: tuple[int, float] | None = None

    def update(self, *, captured: bool) -> None:
        """Print a line at the first capture in each tenth of the iterations, or if none came for a minute."""
        tenth, now = 10 * self.iteration // max(self.iterations, 1), self.clock()
        before, then = self._printed or (-1, -math.inf)
        if not self.row or not ((captured and tenth > before) or now >= then + LONGEST_SILENCE):
            return
        self._printed = (tenth, now)
        width = len(str(self.iterations))
        left = self.seconds_left()
        ending = f"   {duration(left)} left" if left > 0 else ""
        self.console.print(
            f"{self._prefix}iteration {self.iteration:{width}d}/{self.iterations}   {self.values()}{ending}",
            markup=False,
            soft_wrap=True,
        )


@final
class LiveDisplay(ConsoleDisplay):
    """Two lines that stay in place: the bar with the time left, and the values."""

    def __enter__(self) -> Self:
        from rich.live import Live

        self._live = Live(get_renderable=self.rendered, console=self.console, refresh_per_second=8, transient=True)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, *, captured: bool) -> None:
        """Leave it to the next refresh."""

    def rendered(self) -> RenderableType:
        """Return both lines, or nothing before the start."""
        from rich.console import Group

        return Group(self._progress, self.values()) if self.iterations else ""


def describe(training: Training) -> str:
    """Return a training in one line."""
    known = {name: value for name, value in training.problem.parameters.items() if value is not None}
    parameters = ", ".join(f"{name}={value}" for name, value in known.items())
    settings = training.settings
    precision = f", {settings.precision}" if settings.precision else ""
    return (
        f"{training.problem.name}{f' ({parameters})' if parameters else ''}, {training.scheme_name}, "
        f"{training.backend}: {settings.points} points, {settings.depth} x {settings.width} tanh, "
        f"{settings.iterations} iterations, seed {settings.seed}{precision}"
        f"{', compiled (the first iteration takes a while)' if settings.compiled else ''}"
    )
