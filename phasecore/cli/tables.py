"""What the commands print at their end, on standard output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from phasecore.cli.whole_table import WholeTable
from phasecore.phases import Phase
from phasecore.reporting.coefficients import coefficient_panels
from phasecore.reporting.comparison import Compared
from phasecore.reporting.palette import PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.seeds import BEGINS, Group, Paired, Spread
from phasecore.reporting.wording import absent, counted, duration, interval, number, ranged

ABREAST = 4
"""Runs that have a column each at most; more have a row each, with less in it."""


def comparison_table(runs: Sequence[Compared]) -> WholeTable:
    """Return a table with one column per run: error, transitions, SNR, orders and time; or of many a shorter one."""
    from rich.text import Text

    if len(runs) > ABREAST:
        return _table_of_many(runs)
    table = WholeTable()
    table.add_column(justify="left", kept=True)
    for run in runs:
        table.add_column(run.weighting)
    if any(run.failure for run in runs):
        table.add_row("outcome", *("failed" if run.failure else "trained" for run in runs))
    if any(math.isfinite(run.error) for run in runs):
        table.add_row("relative L2 error", *(number(run.error) for run in runs))
    for phase in BEGINS:
        starts = [run.start(phase) for run in runs]
        begins = [
            absent([run.timeline]) if start is None else str(start[0]) for run, start in zip(runs, starts, strict=True)
        ]
        title = Text(f"{PHASE_NAMES[phase]} from iteration", style=PHASE_COLOURS[phase])
        table.add_row(title, *begins)
        table.add_row("  after", *("-" if start is None else duration(start[1]) for start in starts))
        table.add_row("  confidence", *(_confidence(run, phase) for run in runs))
    for name, label in (
        ("snr", "final SNR"),
        ("gradient_order", "final gradient order"),
        ("residual_order", "final residual order"),
    ):
        table.add_row(label, *(number(run.final(name)) for run in runs))
    for panel in coefficient_panels([run.columns for run in runs]):
        table.add_row(panel.label, *(number(run.final(panel.column)) for run in runs))
    table.add_row("training time", *(duration(run.outcome.seconds) for run in runs))
    return table


def _table_of_many(runs: Sequence[Compared]) -> WholeTable:
    has_error = any(math.isfinite(run.error) for run in runs)
    table = WholeTable(gap=2, caption="iterations at which phases begin, and how sure that is")
    table.add_column(justify="left", kept=True)
    trained = coefficient_panels([run.columns for run in runs])
    labels = ["error"] if has_error else []
    for label in [*labels, "diffusion", "total diffusion", "SNR", *(panel.label for panel in trained), "time"]:
        table.add_column(label)
    for run in runs:
        found = map(run.outcome.timeline.transition, BEGINS)
        begins = [
            absent([run.timeline], "-") if start is None else f"{start.iteration} ({start.confidence:.2f})"
            for start in found
        ]
        error = ["failed" if run.failure else number(run.error)] if has_error else []
        values = [number(run.final(column)) for column in ("snr", *(panel.column for panel in trained))]
        time = "failed" if run.failure and not has_error else duration(run.seconds)
        table.add_row(run.weighting, *error, *begins, *values, time)
    return table


def seeds_table(groups: Sequence[Group]) -> WholeTable:
    """Return a table with two lines per weighting: medians over its seeds, and ranges below them."""
    from rich.text import Text

    has_error = any(group.error() for group in groups)
    table = WholeTable(gap=2)
    table.add_column(justify="left", most=24)
    for label in ["error"] if has_error else []:
        table.add_column(label)
    for phase in BEGINS:
        table.add_column(Text(PHASE_NAMES[phase], style=PHASE_COLOURS[phase]))
    for label in ("SNR", "time"):
        table.add_column(label)
    for group in groups:
        completed = len(group.completed)
        begins = [group.start(phase) for phase in BEGINS]
        reached = [0 if begin is None else len(begin.values) for begin in begins]
        none = absent([network.timeline for network in group.completed], "-")
        few = [f" ({count} of {completed})" if 0 < count < completed else "" for count in reached]
        medians = [
            *([_median(group.error())] if has_error else []),
            *(
                none if begin is None else _median(begin, whole) + suffix
                for begin, suffix in zip(begins, few, strict=True)
            ),
            _median(group.final("snr")),
            _median(group.seconds(), duration),
        ]
        ranges = [
            *([_range(group.error())] if has_error else []),
            *(_range(begin, whole) for begin in begins),
            _range(group.final("snr")),
            _range(group.seconds(), duration),
        ]
        table.add_row(Text(group.weighting, style="bold"), *medians)
        failed = len(group.networks) - completed
        trained = f"  {completed} seed{'' if completed == 1 else 's'}"
        table.add_row(trained + (f", {failed} failed" if failed else ""), *ranges, style="dim")
    return table


def pairs_table(pairs: Sequence[Paired]) -> WholeTable:
    """Return a table of ratios, paired by seed: median, range, and the number of pairs where some lack it."""
    from rich.text import Text

    has_error = any(pair.error for pair in pairs)
    table = WholeTable()
    table.add_column(justify="left", most=40)
    for label in ["error"] if has_error else []:
        table.add_column(label)
    for phase in BEGINS:
        table.add_column(Text(PHASE_NAMES[phase], style=PHASE_COLOURS[phase]))
    for pair in pairs:
        spreads = [*([pair.error] if has_error else []), *(pair.starts[phase] for phase in BEGINS)]
        cells = [counted(spread, pair.count) for spread in spreads]
        table.add_row(f"{pair.weighting} / {pair.against}", *cells)
    return table


def acted_sentences(groups: Sequence[Group]) -> list[str]:
    """Return a line for each action of the policies: when, and why; over several seeds median, range and number.

    Args:
        groups: the runs of each weighting.
    """
    sentences = []
    for group in groups:
        if len(group.networks) == 1:
            sentences += [
                f"{group.weighting}: {acted.words} at iteration {acted.iteration} ({acted.policy}: {acted.reason})"
                for acted in group.networks[0].actions
            ]
            continue
        for done in group.done():
            seeds = f"{len(done.begins.values)} of {len(group.completed)} seeds"
            sentences.append(
                f"{group.weighting}: {done.words} at iteration {ranged(done.begins, whole)}, {seeds} ({done.policy})"
            )
    return sentences


def whole(value: float) -> str:
    """Return an iteration."""
    return f"{value:.0f}"


def _median(spread: Spread | None, word: Callable[[float], str] = number) -> str:
    return "-" if spread is None else word(spread.median)


def _range(spread: Spread | None, word: Callable[[float], str] = number) -> str:
    return "" if spread is None or len(spread.values) == 1 else interval(spread, word)


def _confidence(run: Compared, phase: Phase) -> str:
    found = run.outcome.timeline.transition(phase)
    return "-" if found is None else f"{found.confidence:.2f}"


def run_table(run: Compared) -> WholeTable:
    """Return the outcome of one run as rows of name and value."""
    from rich.text import Text

    table = WholeTable(has_header=False)
    table.add_column(justify="left")
    table.add_column(justify="left")
    if math.isfinite(run.error):
        table.add_row("relative L2 error", number(run.error))
    for panel in coefficient_panels([run.columns]):
        table.add_row(panel.label, number(run.final(panel.column)))
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
        table.add_row("run folder", str(run.training.folder))
    return table
