"""`phasecore run`: train one network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from phasecore.cli.options import all_probes, check_resume, common_options, once
from phasecore.cli.session import interruptible, print_json, standard_output_kept_clean


@click.command("run", short_help="Train one network on a problem.")
@common_options
@click.option(
    "--weighting",
    "--weightings",
    "weighting",
    metavar="NAME[:key=value,...]",
    multiple=True,
    callback=once,
    help="Weighting scheme with its options, such as rba:gamma=0.99. Default: uniform.",
)
@click.option("--processes", type=int, help="Processes to train in, each with a part of the points. Default: 1.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    problem: str,
    output: Path | None,
    resume: bool,
    as_json: bool,
    probes: tuple[str, ...],
    policies: tuple[str, ...],
    loggers: tuple[str, ...],
    **given: Any,
) -> None:
    """Train one network on PROBLEM, and say which phases it went through.

    PROBLEM is NAME or NAME:key=value,key=value, such as helmholtz:a1=1,a2=4; 'phasecore plugins' lists the names. A
    class of one's own is file.py:Class or package.module:Class, such as wave.py:Wave:speed=2.
    """
    from phasecore import registry
    from phasecore.recording.configuration import summary
    from phasecore.recording.folder import check_free, reserve_folder, slug
    from phasecore.reporting.comparison import Compared
    from phasecore.runs.execution import execute_prepared
    from phasecore.runs.preparation import prepare, prepare_resumed

    check_resume(resume, output)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with standard_output_kept_clean():
        if asked := all_probes(probes):
            chosen["probes"] = asked
        if policies:
            chosen["policy"] = "+".join(policies)
        registry.as_listeners(loggers)
        if resume and output is not None:
            training = prepare_resumed(output, problem=problem, **chosen)
        else:
            if output is not None:
                check_free(output)
            training = prepare(problem, **chosen)
            name = f"{training.problem.name}-{slug(training.scheme_name)}-seed{training.settings.seed}"
            training = replace(training, folder=output or reserve_folder(name))
        assert training.folder is not None
        from phasecore.cli.progress import make_display

        again = ["phasecore", "run", problem, "--output", str(training.folder), "--resume"]
        with interruptible(ctx, [training.folder], again), make_display() as display:
            outcome = execute_prepared(training, resume=resume, display=display, loggers=loggers or None)
    if as_json:
        document = {**summary(training, outcome), "output": str(training.folder)}
        print_json(document)
    else:
        from phasecore.cli.consoles import make_console
        from phasecore.cli.tables import run_table

        run = Compared.of(training, outcome)
        console = make_console()
        console.print(run_table(run))
        for sentence in run.moved():
            console.print(sentence, style="dim", markup=False, soft_wrap=True)
