"""`phasecore compare`: train one network per weighting, and set them side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phasecore.cli.options import all_probes, check_resume, common_options
from phasecore.cli.session import interruptible, standard_output_kept_clean
from phasecore.errors import InputError

if TYPE_CHECKING:
    from phasecore.backends import Training
    from phasecore.reporting.comparison import Compared

REQUEST = "compare.json"
FIGURE = "compare.png"
DEFAULT_WEIGHTINGS = "uniform,rba"
ALL = "all"


@click.command("compare", short_help="Train one network per weighting; table and figure.")
@common_options
@click.option(
    "--weightings",
    "--weighting",
    "weightings",
    metavar="A,B,...",
    help="Weighting schemes. After a comma, key=value is an option of the scheme before it; anything else begins the "
    f"next one: uniform,rba:gamma=0.99,eta=0.01. 'all' stands for every registered one. Default: {DEFAULT_WEIGHTINGS}.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    problem: str,
    weightings: str | None,
    output: Path | None,
    resume: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one network on PROBLEM per weighting, from the same start; print a table and save a figure.

    PROBLEM is NAME or NAME:key=value,key=value, such as helmholtz:a1=1,a2=4; 'phasecore plugins' lists the names.
    """
    from phasecore import registry
    from phasecore.recording.configuration import summary
    from phasecore.recording.folder import reserve_folder, write_json
    from phasecore.reporting.comparison_figure import check_matplotlib, draw_comparison
    from phasecore.specifications import split_weightings

    check_matplotlib()
    check_resume(resume, output)
    request = {"problem": problem, **{name: value for name, value in given.items() if value not in (None, ())}}
    asked = weightings or (None if resume else DEFAULT_WEIGHTINGS)
    everything = asked is not None and asked.strip() == ALL and ALL not in registry.names("weighting")
    if everything:
        # a comparison that goes on has recorded which schemes these are
        request |= {} if resume else {"weightings": list(registry.names("weighting"))}
    elif asked is not None:
        request["weightings"] = split_weightings(asked)
    with standard_output_kept_clean():
        if resume and output is not None:
            request = _resumed_request(output, request)
        elif output is not None:
            _check_free(output)
        prepared = _prepare(request, output if resume else None, leave_out=everything and not resume)
        request["weightings"], trainings = list(prepared), list(prepared.values())
        loggers = list(request.get("loggers", ()))
        registry.as_listeners(loggers)
        seed = trainings[0].settings.seed
        folder = output or reserve_folder(f"{trainings[0].problem.name}-compare-seed{seed}")
        _make_folder(folder)
        write_json(folder / REQUEST, request)
        trainings = [replace(training, folder=_run_folder(folder, training.scheme_name)) for training in trainings]
        again = ["phasecore", "compare", problem, "--output", str(folder), "--resume"]
        folders = [training.folder for training in trainings if training.folder is not None]
        with interruptible(ctx, folders, again):
            runs = [
                _train(training, f"{training.scheme_name} ({place} of {len(trainings)})", loggers)
                for place, training in enumerate(trainings, start=1)
            ]
        draw_comparison(runs, folder / FIGURE)
    if as_json:
        documents = [{**summary(run.training, run.outcome), "output": str(run.training.folder)} for run in runs]
        click.echo(json.dumps({"runs": documents}, allow_nan=False))
        click.echo(f"Figure: {folder / FIGURE}", err=True)
    else:
        from rich.console import Console

        from phasecore.cli.tables import comparison_table

        console = Console(highlight=False)
        console.print(comparison_table(runs))
        for run in runs:
            for sentence in run.moved():
                console.print(f"{run.training.scheme_name}, {sentence}", style="dim", markup=False, soft_wrap=True)
        console.print(f"figure: {folder / FIGURE}", markup=False, soft_wrap=True)


def _prepare(request: Mapping[str, Any], resumed: Path | None, *, leave_out: bool) -> dict[str, Training]:
    """Make all trainings, so that whatever is wrong with one of them is said before the first begins.

    Args:
        request: what is asked for.
        resumed: the folder of a comparison that goes on, or None.
        leave_out: do without the weightings that cannot be trained with, and say why; not without all of them.
    """
    from phasecore.recording.folder import CONFIGURATION
    from phasecore.runs.preparation import DEFAULT_PRESET, complete_weighting, prepare, prepare_resumed, problem_of

    options = {
        name: value for name, value in request.items() if name not in ("problem", "weightings", "loggers", "policies")
    }
    if request.get("policies"):
        options["policy"] = "+".join(request["policies"])
    options["probes"] = all_probes(options.get("probes", ()))
    problem, preset = problem_of(request["problem"], options.get("preset", DEFAULT_PRESET))
    trainings: dict[str, Training] = {}
    refused: list[InputError] = []
    for weighting in request["weightings"]:
        there = None if resumed is None else _run_folder(resumed, complete_weighting(weighting, preset))
        try:
            if there is not None and (there / CONFIGURATION).exists():
                trainings[weighting] = prepare_resumed(
                    there, problem=request["problem"], weighting=weighting, **options
                )
            else:
                trainings[weighting] = prepare(problem, weighting=weighting, **options)
        except InputError as error:
            if not leave_out:
                raise
            refused.append(error)
    if not trainings:
        # the reason is none of a weighting's
        raise refused[0]
    for reason in refused:
        click.echo(f"left out: {reason}", err=True)
    return trainings


def _train(training: Training, label: str, loggers: Sequence[str]) -> Compared:
    from phasecore.cli.progress import make_display
    from phasecore.recording.folder import CONFIGURATION
    from phasecore.reporting.comparison import Compared
    from phasecore.runs.execution import execute_prepared

    assert training.folder is not None
    with make_display(label) as display:
        resume = (training.folder / CONFIGURATION).exists()
        outcome = execute_prepared(training, resume=resume, display=display, loggers=loggers)
    return Compared.of(training, outcome)


def _run_folder(folder: Path, scheme_name: str) -> Path:
    from phasecore.recording.folder import slug

    return folder / slug(scheme_name)


def _check_free(folder: Path) -> None:
    from phasecore.recording.folder import check_free

    check_free(folder)
    held = [name for name in (REQUEST, FIGURE) if (folder / name).exists()]
    held += [path.parent.name for path in folder.glob("*/run.json")]
    if held:
        raise InputError(
            f"output {folder} already holds a comparison",
            received=f"a folder with {held[0]}",
            expected="a folder without one",
            fix="Choose another folder, or go on with that comparison: --resume. Nothing was overwritten.",
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}", received=str(error), fix="Name another with --output.") from None


def _resumed_request(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that a comparison was started with; what is given now must agree with it."""
    from phasecore.recording.folder import read_json

    if not (folder / REQUEST).is_file():
        raise InputError(f"no comparison at {folder}", expected=f"a folder with {REQUEST}")
    recorded = read_json(folder / REQUEST)
    if not {"problem", "weightings"} <= recorded.keys():
        raise InputError(f"cannot read {folder / REQUEST}", expected='an object with "problem" and "weightings"')
    agreed = dict(given)
    if given["problem"] == str(recorded["problem"]).partition(":")[0]:
        agreed["problem"] = recorded["problem"]
    for name in ("problem", "weightings"):
        if agreed.setdefault(name, recorded[name]) != recorded[name]:
            raise InputError(
                f"the comparison in {folder} differs in {name!r}",
                received=agreed[name],
                expected=recorded[name],
                fix="Leave the option out to go on with that comparison, or choose another folder.",
            )
    return {**recorded, **agreed}
