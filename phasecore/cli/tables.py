"""What the commands print at their end, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phasecore.phases import Phase
from phasecore.reporting.comparison import Compared
from phasecore.reporting.palette import PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.wording import duration, number

if TYPE_CHECKING:
    from rich.table import Table


ABREAST = 4
"""Runs that have a column each at most; more have a row each, with less in it."""


def comparison_table(runs: Sequence[Compared]) -> Table:
    """Return a table with one column per run: error, transitions, SNR, orders and time; or of many a shorter one."""
    from rich.table import Table
    from rich.text import Text

    if len(runs) > ABREAST:
        return _table_of_many(runs)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("", no_wrap=True)
    for run in runs:
        table.add_column(run.training.scheme_name, justify="right", overflow="fold")
    table.add_row("relative L2 error", *(number(run.outcome.relative_l2_error) for run in runs))
    for phase in (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION):
        starts = [run.start(phase) for run in runs]
        title = Text(f"{PHASE_NAMES[phase]} from iteration", style=PHASE_COLOURS[phase])
        table.add_row(title, *("not reached" if start is None else str(start[0]) for start in starts))
        table.add_row("  after", *("-" if start is None else duration(start[1]) for start in starts))
        table.add_row("  confidence", *(_confidence(run, phase) for run in runs))
    for name, label in (
        ("snr", "final SNR"),
        ("gradient_order", "final gradient order"),
        ("residual_order", "final residual order"),
    ):
        table.add_row(label, *(number(run.final(name)) for run in runs))
    table.add_row("training time", *(duration(run.outcome.seconds) for run in runs))
    return table


def _table_of_many(runs: Sequence[Compared]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for label in ("error", "diffusion", "total diffusion", "SNR", "time"):
        table.add_column(label, justify="right")
    for run in runs:
        found = map(run.outcome.timeline.transition, (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION))
        begins = ["-" if start is None else f"{start.iteration} ({start.confidence:.2f})" for start in found]
        error, snr = number(run.outcome.relative_l2_error), number(run.final("snr"))
        table.add_row(run.training.scheme_name, error, *begins, snr, duration(run.outcome.seconds))
    table.caption = "iterations at which phases begin, and how sure that is"
    return table


def _confidence(run: Compared, phase: Phase) -> str:
    found = run.outcome.timeline.transition(phase)
    return "-" if found is None else f"{found.confidence:.2f}"


def run_table(run: Compared) -> Table:
    """Return the outcome of one run as rows of name and value."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 3, 0, 0))
    table.add_row("relative L2 error", number(run.outcome.relative_l2_error))
    for transition in run.outcome.timeline.transitions:
        name = Text(f"{PHASE_NAMES[transition.phase]} from", style=PHASE_COLOURS[transition.phase])
        after = duration(run.seconds_at(transition.iteration))
        table.add_row(name, f"iteration {transition.iteration} (after {after}), confidence {transition.confidence:.2f}")
    current = run.outcome.timeline.current
    table.add_row("phase at the end", PHASE_NAMES[current] if current else run.outcome.timeline.reason)
    for acted in run.outcome.actions:
        table.add_row(acted.words, f"at iteration {acted.iteration} ({acted.policy}: {acted.reason})")
    table.add_row("final SNR", number(run.final("snr")))
    table.add_row("training time", duration(run.outcome.seconds))
    if run.training.folder is not None:
        table.add_row("run folder", Text(str(run.training.folder), overflow="fold"))
    return table
