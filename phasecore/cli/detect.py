"""`phasecore detect`: the phases of a recorded curve."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from phasecore.cli.consoles import make_console, tell
from phasecore.cli.session import print_json
from phasecore.cli.whole_table import WholeTable
from phasecore.phases import Timeline, detect, replay
from phasecore.recording.column_names import parse_columns
from phasecore.recording.reading import read_curve
from phasecore.reporting.moved import moved
from phasecore.reporting.palette import PHASE_COLOURS, PHASE_NAMES


@click.command("detect", short_help="Find the phases of a recorded curve.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("--online", is_flag=True, help="Replay the curve through the online tracker.")
@click.option(
    "--columns",
    metavar="NAME=COLUMN[,...]",
    multiple=True,
    help="What FILE calls the columns of a history, where it calls them otherwise: iteration=Step,snr=train/snr.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve, its phases and the evidence.")
def command(file: Path, as_json: bool, online: bool, columns: tuple[str, ...], plot: Path | None) -> None:
    """Find the phases of the curve in FILE: a CSV with a header, JSON lines, a run folder, or a history.jsonl.

    A file needs the columns iteration and snr, or iteration, gradient_mean_norm and gradient_std_norm; other
    columns of a history are used where they help. Files of Keras, Lightning, TensorBoard, W&B and MLflow are read as
    they are, or with --columns. Exit status 2 if FILE is no such curve.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        curve = read_curve(file, parse_columns(columns))
    for warning in caught:
        tell(f"Warning: {warning.message}")
    timeline = replay(curve) if online else detect(curve)
    if plot is not None:
        from phasecore.reporting.timeline_figure import draw_timeline

        draw_timeline(curve, timeline, plot)
    if as_json:
        print_json(timeline.to_json())
    else:
        _print(timeline, moved(detect(curve) if online else timeline, curve))


def _print(timeline: Timeline, notes: Sequence[str]) -> None:
    from rich.text import Text

    console = make_console()
    if timeline.transitions:
        online = any(transition.declared_at is not None for transition in timeline.transitions)
        table = WholeTable()
        table.add_column("phase", "left")
        for title in ("iteration", "interval", "confidence", *(["declared at"] * online)):
            table.add_column(title)
        for transition in timeline.transitions:
            table.add_row(
                Text(PHASE_NAMES[transition.phase], style=PHASE_COLOURS[transition.phase]),
                str(transition.iteration),
                f"{transition.interval[0]} to {transition.interval[1]}",
                f"{transition.confidence:.2f}",
                *([str(transition.declared_at)] * online),
            )
        console.print(table)
    for note in notes:
        console.print(Text(note, "dim"), soft_wrap=True)
    for transition in timeline.transitions:
        console.print()
        console.print(Text(f"evidence for {PHASE_NAMES[transition.phase]}, log odds", PHASE_COLOURS[transition.phase]))
        for item in transition.evidence:
            console.print(Text(f"{item.log_odds:+6.1f}  {item.statement}"), soft_wrap=True)
    if timeline.transitions:
        console.print()
    if timeline.current is not None:
        console.print(Text.assemble("now: ", (PHASE_NAMES[timeline.current], PHASE_COLOURS[timeline.current])))
    console.print(Text(timeline.reason), soft_wrap=True)
