"""The page of a report: a table of the runs, the figures, and the evidence for each phase."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phasecore.errors import InputError
from phasecore.phases import Phase
from phasecore.recording.history import replace_file
from phasecore.reporting.coefficients import coefficient_panels
from phasecore.reporting.curves import MOST_DRAWN, NOT_KNOWN, curves_figure, recorded_figure
from phasecore.reporting.dependencies import check_installed
from phasecore.reporting.fields import fields_figure, why_no_picture
from phasecore.reporting.palette import FAINT, PHASE_COLOURS, PHASE_NAMES
from phasecore.reporting.reported import Reported, gather
from phasecore.reporting.seeds import BEGINS, Spread, grouped_by_weighting, paired
from phasecore.reporting.wording import absent, counted, duration, masked, number, ranged

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup
    from plotly.graph_objects import Figure

GENERATOR = '<meta name="generator" content="phasecore report">'
"""By this a report is known, and may be written anew."""

TEMPLATE = "report.html.jinja"


def write_report(folders: Sequence[str | Path], file: str | Path) -> list[Reported]:
    """Write one HTML page on some runs, finished or not; it needs no network, and no other file.

    Args:
        folders: run folders, or folders of such (a comparison's).
        file: where to write it; a report that is there is replaced.

    Returns:
        The runs in it.

    Raises:
        MissingDependencyError: if plotly or Jinja2 is not installed.
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
    for package in ("plotly", "jinja2"):
        check_installed(package, "a report")
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
    """Return the page, which `report.html.jinja` sets.

    Args:
        reported: the runs, at least one.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    groups = grouped_by_weighting(reported)
    mark = secrets.token_hex(16)
    text: str = _template().render(
        generator=Markup(GENERATOR),
        plotly=Markup(get_plotlyjs()),
        nonce=mark,
        title=_title(reported),
        runs=reported,
        has_error=any(math.isfinite(item.error) for item in reported),
        groups=groups if len(groups) < len(reported) else [],
        pairs=paired(groups),
        begins=BEGINS,
        trained=coefficient_panels([item.run.history for item in reported]),
        legend={PHASE_NAMES[phase]: colour for phase, colour in PHASE_COLOURS.items()} | {"not known": NOT_KNOWN},
        batches=batches_of_the_snr(reported),
        curves=_html(curves_figure(reported), "curves", mark),
        most_drawn=MOST_DRAWN,
        fields=[_html(fields_figure(item.run), f"fields-{place}", mark) for place, item in enumerate(reported)],
        recorded=_html(recorded_figure(reported), "recorded", mark),
    )
    # a number that no content can know, as it depends on all of it, and that is the same for the same runs
    return text.replace(mark, hashlib.sha256(text.replace(mark, "").encode("utf-8", "replace")).hexdigest())


def batches_of_the_snr(reported: Sequence[Reported]) -> str:
    """Return how many points the batches of each run's SNR hold, in words; empty where it is not known of any."""
    sizes: dict[float, list[str]] = {}
    for item in reported:
        if item.points_per_batch is not None:
            sizes.setdefault(item.points_per_batch, []).append(item.label)
    told = [f"{number(size)} points" for size in sizes]
    if len(sizes) > 1:
        told = [f"{words} ({', '.join(labels)})" for words, labels in zip(told, sizes.values(), strict=True)]
    return ", ".join(told)


def _template() -> Template:
    """Return the template; whatever it is given is escaped, and what it is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("phasecore.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {
        "number": number,
        "ranged": _ranged,
        "counted": counted,
        "duration": duration,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}.",
        "as_json": lambda document: json.dumps(document, indent=2),
        "why_no_picture": why_no_picture,
    }
    environment.globals |= {"Phase": Phase, "phase_names": PHASE_NAMES, "colours": PHASE_COLOURS, "faint": FAINT}
    environment.globals |= {"duration": duration, "whole": "{:.0f}".format, "absent": absent}
    return environment.get_template(TEMPLATE)


def _shown(value: Any) -> Any:
    """Return a value as the page shows it: texts without passwords, as a page may be sent to anybody."""
    from markupsafe import Markup

    return masked(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _ranged(spread: Spread | None, word: Callable[[float], str] = number) -> str:
    return "-" if spread is None else ranged(spread, word)


def _title(reported: Sequence[Reported]) -> str:
    problems = dict.fromkeys(item.problem for item in reported)
    what = next(iter(problems)) if len(problems) == 1 else f"{len(problems)} problems"
    return f"{what}: {reported[0].label}" if len(reported) == 1 else f"{what}: {len(reported)} runs"


def _html(figure: Figure | None, identity: str, nonce: str) -> Markup | None:
    """Return plotly's own HTML of a figure, which is not to be escaped again; the page lets its scripts run.

    Plotly makes links and the like of the text that it draws: of what comes from runs it is to make none.
    """
    from markupsafe import Markup

    if figure is None:
        return None
    options = {"responsive": True, "displaylogo": False}
    text = _as_text(figure.to_plotly_json())
    drawn: Figure = type(figure)(text, skip_invalid=True)
    html = drawn.to_html(full_html=False, include_plotlyjs=False, div_id=identity, config=options)
    return Markup(html.replace("<script", f'<script nonce="{nonce}"'))


def _as_text(part: Any, name: str = "") -> Any:
    """Return a part of a figure in which no text but our own templates is markup, and none tells a password."""
    if isinstance(part, dict):
        return {key: _as_text(value, key) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_as_text(value, name) for value in part]
    if not isinstance(part, str):
        return part
    part = masked(part)
    return part.replace("<", "&lt;") if name != "hovertemplate" else part


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
