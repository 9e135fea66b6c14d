"""`phasecore compare`: train one network per weighting and seed, and set them side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phasecore.cli import comparison
from phasecore.cli.comparison import FIGURE
from phasecore.cli.consoles import tell
from phasecore.cli.options import check_resume, common_options
from phasecore.cli.session import interruptible, print_json, standard_output_kept_clean

if TYPE_CHECKING:
    from phasecore.backends import Training
    from phasecore.reporting.comparison import Compared
    from phasecore.runs.attempts import Ended

DEFAULT_WEIGHTINGS = "uniform,rba"
ALL = "all"


@click.command("compare", short_help="Train one network per weighting and seed; table and figure.")
@common_options
@click.option(
    "--weightings",
    "--weighting",
    "weightings",
    metavar="A,B,...",
    multiple=True,
    help="Weighting schemes. After a comma, key=value is an option of the scheme before it; anything else begins the "
    f"next one: uniform,rba:gamma=0.99,eta=0.01. 'all' stands for every registered one. Default: {DEFAULT_WEIGHTINGS}.",
)
@click.option(
    "--seeds",
    metavar="0,1,...",
    multiple=True,
    help="Train a network with each of these seeds per weighting: medians, ranges, and ratios paired by seed.",
)
@click.option(
    "--jobs",
    type=int,
    default=1,
    metavar="N",
    help="Networks trained at the same time, each on an Nth of the cores. Default: 1.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    problem: str,
    weightings: tuple[str, ...],
    seeds: tuple[str, ...],
    jobs: int,
    output: Path | None,
    resume: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one network on PROBLEM per weighting, from the same start; print a table and save a figure.

    PROBLEM is NAME or NAME:key=value,key=value, such as helmholtz:a1=1,a2=4; 'phasecore plugins' lists the names. A
    class of one's own is file.py:Class or package.module:Class, such as wave.py:Wave:speed=2.
    A network that fails is in the table with the reason, and the others go on: exit status 1.
    """
    from phasecore import registry
    from phasecore.recording.folder import COMPARISON, reserve_folder, write_json
    from phasecore.recording.record import refused
    from phasecore.recording.trouble import reason, remedy
    from phasecore.reporting.comparison import in_groups
    from phasecore.reporting.comparison_figure import check_matplotlib, draw_comparison
    from phasecore.runs.attempts import Failure
    from phasecore.runs.several import check_jobs, check_loggers
    from phasecore.specifications import split_weightings

    check_matplotlib()
    check_resume(resume, output)
    check_jobs(jobs)
    given = comparison.with_seeds(given, ",".join(seeds) if seeds else None)
    request = {"problem": problem, **{name: value for name, value in given.items() if value not in (None, ())}}
    asked_now = frozenset(request)
    asked = ",".join(weightings) or (None if resume else DEFAULT_WEIGHTINGS)
    everything = asked is not None and asked.strip() == ALL and ALL not in registry.names("weighting")
    if everything:
        # a comparison that goes on has recorded which schemes these are
        request |= {} if resume else {"weightings": list(registry.names("weighting"))}
    elif asked is not None:
        request["weightings"] = split_weightings(asked)
    with standard_output_kept_clean():
        if resume and output is not None:
            request = comparison.resumed_request(output, request)
        elif output is not None:
            comparison.check_free(output)
        prepared = comparison.prepare_all(
            request, output if resume else None, asked=asked_now, leave_out=everything and not resume
        )
        request["weightings"] = list(prepared)
        loggers = list(request.get("loggers", ()))
        check_loggers(loggers, sum(map(len, prepared.values())))
        folder = output or reserve_folder(_folder_name(request, prepared))
        comparison.make_folder(folder)
        trainings = comparison.in_folders(prepared, folder, request)
        ordered = [one for weighting in dict.fromkeys(one.scheme_name for one in trainings)
                   for one in trainings if one.scheme_name == weighting]  # fmt: skip
        request["runs"] = [one.folder.name for one in ordered if one.folder is not None]
        with refused(folder / COMPARISON):
            write_json(folder / COMPARISON, {**request, **comparison.file_of_problem(request["problem"])})
        again = ["phasecore", "compare", problem, "--output", str(folder), "--resume"]
        again += ["--jobs", str(jobs)] if jobs > 1 else []
        with interruptible(ctx, [one.folder for one in ordered if one.folder is not None], again):
            ended = _train(trainings, jobs, loggers, several="seeds" in request)
        results = dict(zip(map(id, trainings), ended, strict=True))
        runs = in_groups([_compared(one, results[id(one)]) for one in ordered])
        try:
            draw_comparison(runs, folder / FIGURE)
        except OSError as error:
            tell(f"Warning: no figure: cannot write {folder / FIGURE} ({reason(error)}). {remedy(error)}")
        failures = [item for item in ended if isinstance(item, Failure)]
        for failure in (failure for failure in failures if failure.trace):
            tell(failure.trace.removesuffix("\n"))
    if as_json:
        print_json(_document(runs))
        tell(f"Figure: {folder / FIGURE}")
    else:
        _print(runs, folder / FIGURE)
    if failures:
        ctx.exit(2 if all(failure.is_input for failure in failures) else 1)


def _folder_name(request: dict[str, Any], prepared: dict[str, list[Training]]) -> str:
    first = next(iter(prepared.values()))[0]
    which = f"{len(request['seeds'])}-seeds" if "seeds" in request else f"seed{first.settings.seed}"
    return f"{first.problem.name}-compare-{which}"


def _train(trainings: Sequence[Training], jobs: int, loggers: Sequence[str], *, several: bool) -> list[Ended]:
    from phasecore.cli.displays import ConsoleDisplays
    from phasecore.runs.several import execute_all_prepared

    labels = [
        f"{one.scheme_name}{f', seed {one.settings.seed}' if several else ''} ({place} of {len(trainings)})"
        for place, one in enumerate(trainings, start=1)
    ]
    with ConsoleDisplays(labels) as displays:
        return execute_all_prepared(trainings, jobs=jobs, resume=True, displays=displays, loggers=loggers)


def _compared(training: Training, ended: Ended) -> Compared:
    """Return a run with its history; of one that failed as far as it came."""
    from phasecore.recording.history import HISTORY, read_rows
    from phasecore.recording.outcome import outcome_of
    from phasecore.reporting.comparison import Compared
    from phasecore.runs.attempts import Failure

    if not isinstance(ended, Failure):
        return Compared.of(training, ended)
    assert training.folder is not None
    file = training.folder / HISTORY
    rows = read_rows(file) if file.exists() else []
    return Compared.of(training, outcome_of(rows, rows[-1]["iteration"] if rows else 0), ended.reason)


def _document(runs: Sequence[Compared]) -> dict[str, Any]:
    from phasecore.recording.configuration import summary
    from phasecore.reporting.seeds import grouped_by_weighting, summary_of

    documents = []
    for run in runs:
        document = {**summary(run.training, run.outcome), "output": str(run.training.folder)}
        if run.failure:
            document["failure"] = run.failure
            if math.isnan(run.error) and "relative_l2_error" in document:
                document["relative_l2_error"] = None
        documents.append(document)
    groups = grouped_by_weighting(runs)
    several = any(len(group.networks) > 1 for group in groups)
    return {"runs": documents, **({"summary": summary_of(groups)} if several else {})}


def _print(runs: Sequence[Compared], figure: Path) -> None:
    from phasecore.cli.consoles import result_console
    from phasecore.cli.tables import acted_sentences, comparison_table, pairs_table, seeds_table
    from phasecore.reporting.seeds import grouped_by_weighting, paired

    console = result_console()
    groups = grouped_by_weighting(runs)
    several = any(len(group.networks) > 1 for group in groups)
    console.print(seeds_table(groups) if several else comparison_table(runs))
    if several:
        note = "medians and ranges over seeds; of phases the iterations at which they begin"
        console.print(note, style="dim", soft_wrap=True)
    for sentence in acted_sentences(groups):
        console.print(sentence, markup=False, soft_wrap=True)
    for run in runs:
        who = f"{run.weighting}, seed {run.seed}" if several else run.weighting
        if run.failure:
            console.print(f"{who} failed: {run.failure}", style="bold red", markup=False, soft_wrap=True)
        for sentence in run.moved() if not several else ():
            console.print(f"{who}, {sentence}", style="dim", markup=False, soft_wrap=True)
    if several and (ratios := paired(groups)):
        console.print("\nratios, paired by seed: medians and ranges", style="dim")
        console.print(pairs_table(ratios))
    console.print(f"figure: {figure}", markup=False, soft_wrap=True)
