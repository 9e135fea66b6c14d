"""`phasecore detect`: the phases of a recorded curve."""

from __future__ import annotations

import json
from pathlib import Path

import click

from phasecore.phases import Curve, Timeline, detect, tracker
from phasecore.runs.reading import read_curve


@click.command("detect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("--online", is_flag=True, help="Replay the curve through the online tracker.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve, its phases and the evidence.")
def command(file: Path, as_json: bool, online: bool, plot: Path | None) -> None:
    """Find the phases of the curve in FILE: a CSV, a run folder or a history.jsonl."""
    curve = read_curve(file)
    timeline = replay(curve) if online else detect(curve)
    if plot is not None:
        from phasecore.runs.timeline_figure import draw_timeline

        draw_timeline(curve, timeline, plot)
    if as_json:
        click.echo(json.dumps(timeline.to_json()))
    else:
        click.echo(str(timeline))


def replay(curve: Curve) -> Timeline:
    """Replay a curve through the online tracker."""
    online = tracker()
    state = online.init()
    timeline = Timeline((), None, "cannot tell: no captures")
    for row, iteration in enumerate(curve.iteration):
        capture = {name: float(values[row]) for name, values in curve.columns.items()}
        timeline, state = online.update({"iteration": float(iteration), **capture}, state)
    return timeline
