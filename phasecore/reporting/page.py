"""The page of a report: a table of the runs, the figures, and the evidence for each phase."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from phasecore.errors import InputError
from phasecore.phases import Phase, Transition
from phasecore.recording.history import replace_file
from phasecore.reporting.curves import MOST_DRAWN, NOT_KNOWN, curves_figure, recorded_figure
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.fields import fields_figure, why_no_picture
from phasecore.reporting.palette import FAINT, PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.reported import Reported, gather
from phasecore.reporting.wording import duration, number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GENERATOR = '<meta name="generator" content="phasecore report">'
"""By this a report is known, and may be written anew."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.25rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; } th, td { padding: .3rem 1rem .3rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 1px solid #8a949e; }
.wide { overflow-x: auto; } .faint { color: #616e7c; } pre { overflow-x: auto; font-size: .85rem; }
.bar { display: inline-block; height: .7rem; vertical-align: middle; }
"""


def write_report(folders: Sequence[str | Path], file: str | Path) -> list[Reported]:
    """Write one HTML page on some runs, finished or not; it needs no network, and no other file.

    Args:
        folders: run folders, or folders of such (a comparison's).
        file: where to write it; a report that is there is replaced.

    Returns:
        The runs in it.

    Raises:
        MissingDependencyError: if plotly is not installed.
        InputError: if a folder holds no run, a file of a run cannot be read, or the file is there and no report, or
            cannot be written.

    Example:
        >>> import json, tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / "run.json").write_text('{"problem": "helmholtz", "weighting": "rba"}')
        >>> rows = [{"iteration": k, "snr": 100.0 / k, "relative_l2_error": 1.0 / k} for k in range(1, 200)]
        >>> _ = (run / "history.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))
        >>> [item.label for item in write_report([run], run / "report.html")]
        ['rba']
    """
    check_installed("plotly", "a report")
    file = Path(file)
    _check_replaceable(file)
    reported = gather(folders)
    text = page(reported)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, text)
    except OSError as error:
        raise InputError(f"cannot write the report {file}", received=str(error), expected="a path for a file") from None
    return reported


def page(reported: Sequence[Reported]) -> str:
    """Return the page.

    Args:
        reported: the runs, at least one.
    """
    from plotly.offline import get_plotlyjs

    title = _title(reported)
    recorded = recorded_figure(reported)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8">{GENERATOR}',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>",
        f"<h1>{escape(title)}</h1>",
        _table(reported),
        "<h2>Phases</h2>",
        _legend(),
        _figure(curves_figure(reported), "curves"),
        f'<p class="faint">Points: captures, of each run at most {MOST_DRAWN}; lines: their running median.</p>',
        *(part for place, item in enumerate(reported) for part in _section(item, f"fields-{place}")),
    ]
    if recorded is not None:
        parts += ["<h2>Everything recorded</h2>", _figure(recorded, "recorded")]
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _title(reported: Sequence[Reported]) -> str:
    problems = dict.fromkeys(item.problem for item in reported)
    what = next(iter(problems)) if len(problems) == 1 else f"{len(problems)} problems"
    return f"{what}: {reported[0].label}" if len(reported) == 1 else f"{what}: {len(reported)} runs"


def _table(reported: Sequence[Reported]) -> str:
    heads = [
        "", "iterations", "relative L2 error", "diffusion from", "total diffusion from", "final SNR",
        "final residual order", "training time", "",
    ]  # fmt: skip
    rows = [
        [
            escape(item.label),
            str(item.last_iteration),
            number(item.final("relative_l2_error")),
            *(_start(item, phase) for phase in (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION)),
            number(item.final("snr")),
            number(item.final("residual_order")),
            duration(item.final("seconds")),
            "" if item.run.outcome is not None else "unfinished",
        ]
        for item in reported
    ]
    return _html_table(heads, rows)


def _start(item: Reported, phase: Phase) -> str:
    found = item.timeline.transition(phase)
    return "not reached" if found is None else f"{found.iteration} ({found.confidence:.0%})"


def _legend() -> str:
    colours = {PHASE_NAMES[phase]: colour for phase, colour in PHASE_COLOURS.items()} | {"not known": NOT_KNOWN}
    marks = (
        f'<span class="bar" style="width:2rem;background:{colour}"></span> {name}' for name, colour in colours.items()
    )
    return f"<p>{' &ensp; '.join(marks)}</p>"


def _section(item: Reported, identity: str) -> list[str]:
    """Return what is said of one run: its phases with the evidence, its fields, its configuration."""
    fields, reason = fields_figure(item.run), item.timeline.reason
    configuration = escape(json.dumps(item.run.configuration, indent=2))
    return [
        f"<h2>{escape(item.label)}</h2>",
        f"<p>{escape(reason[:1].upper() + reason[1:])}.</p>",
        *map(_evidence, item.timeline.transitions),
        "<h3>Fields, residuals and weights</h3>",
        f"<p>No picture: {escape(why_no_picture(item.run))}.</p>" if fields is None else _figure(fields, identity),
        f"<details><summary>Configuration, from {escape(str(item.run.folder))}</summary>",
        f"<pre>{configuration}</pre></details>",
    ]


def _evidence(transition: Transition) -> str:
    low, high = transition.interval
    colour = PHASE_COLOURS[transition.phase]
    rows = [
        [
            escape(item.statement),
            f"{item.log_odds:+.1f}",
            f'<span class="bar" style="width:{12 * min(abs(item.log_odds), 12):.0f}px;'
            f'background:{colour if item.log_odds > 0 else FAINT}"></span>',
        ]
        for item in transition.evidence
    ]
    return (
        f'<h3 style="color:{colour}">{PHASE_NAMES[transition.phase]} from {transition.iteration} ({low} to {high}), '
        f"confidence {transition.confidence:.2f}</h3>"
    ) + _html_table(["evidence", "log odds", ""], rows)


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    head = "".join(f"<th>{item}</th>" for item in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figure(figure: Figure, identity: str) -> str:
    html = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=identity, config={"responsive": True, "displaylogo": False}
    )
    return str(html)


def _check_replaceable(file: Path) -> None:
    if not file.exists():
        return
    if file.is_dir():
        raise InputError(f"output {file}", received="a folder", expected="a file such as report.html")
    with file.open("rb") as stream:
        if GENERATOR.encode() not in stream.read(1000):
            raise InputError(
                f"output {file}",
                received="a file that is no report",
                expected="a report, or a path that does not exist",
                fix="Choose another with --output. Nothing was overwritten.",
            )
