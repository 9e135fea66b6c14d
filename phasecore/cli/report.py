"""`phasecore report`: one HTML page on some runs."""

from __future__ import annotations

from pathlib import Path

import click

from phasecore.cli.session import print_json, standard_output_kept_clean

REPORT = "report.html"


@click.command("report", short_help="Write an HTML page on runs: phases, curves, fields.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Where to write it. Default: {REPORT} in RUN if it is one folder, else here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
def command(runs: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Write one HTML page on runs, finished or not, to open in any browser.

    RUN is the folder of a run, or one that holds folders of runs, such as a comparison's. Exit status 2 if it is
    neither.
    """
    from phasecore.reporting import write_report

    file = output or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    with standard_output_kept_clean():
        reported = write_report(runs, file)
    if as_json:
        document = {"runs": [item.summary() for item in reported], "output": str(file)}
        print_json(document)
    else:
        click.echo(f"report: {file}")
