"""Ctrl-C that waits for the end of an iteration, so that a checkpoint can be written first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, final


@final
class Interruption:
    """Whether somebody has interrupted the training.

    Attributes:
        came: whether it has happened.
    """

    def __init__(self) -> None:
        self.came = False


_WAITING: list[Interruption] = []
"""Those of the trainings that go on in this process."""


def interrupt() -> None:
    """Do what Ctrl-C does, from any thread: trainings that look for it end after their iteration.

    Raises:
        KeyboardInterrupt: where none of them looks for it.

    Example:
        >>> with noticed_between_iterations() as interruption:
        ...     interrupt()
        ...     interruption.came
        True
    """
    if not _WAITING:
        raise KeyboardInterrupt
    for interruption in list(_WAITING):
        interruption.came = True


@contextlib.contextmanager
def noticed_between_iterations() -> Iterator[Interruption]:
    """Let the first Ctrl-C wait until it is looked for; a second one interrupts at once.

    Where something else than Python's own answer to Ctrl-C is in place, and outside the main thread, Ctrl-C does what
    it did; `interrupt` is looked for everywhere.

    Example:
        >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)
        >>> with noticed_between_iterations() as interruption:
        ...     signal.raise_signal(signal.SIGINT)
        ...     interruption.came
        True
        >>> _ = signal.signal(signal.SIGINT, before)
    """
    interruption = Interruption()
    _WAITING.append(interruption)
    try:
        with _signal_noticed(interruption):
            yield interruption
    finally:
        _WAITING.remove(interruption)


@contextlib.contextmanager
def _signal_noticed(interruption: Interruption) -> Iterator[None]:
    before: Any = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return

    def notice(number: int, frame: FrameType | None) -> None:
        if interruption.came:
            raise KeyboardInterrupt
        interruption.came = True

    signal.signal(signal.SIGINT, notice)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
