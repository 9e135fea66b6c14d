"""The argument and options that `run` and `compare` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from phasecore.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("problem"),
    click.option("--backend", metavar="NAME", help="Backend that trains: torch or keras. Default: torch."),
    click.option("--preset", metavar="NAME", help="Set-up of the problem to start from: quick (default) or paper."),
    click.option("--iterations", type=int, help="Optimizer iterations."),
    click.option("--points", type=int, help="Collocation points."),
    click.option("--width", type=int, help="Neurons of each hidden layer."),
    click.option("--depth", type=int, help="Hidden layers."),
    click.option("--learning-rate", type=float, help="Adam's initial learning rate."),
    click.option("--seed", type=int, help="Seed of the points and the network. Default: 0."),
    click.option("--every", type=int, help="Iterations between captures of the statistics."),
    click.option(
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Folder to keep the results in; it must not hold a run yet. Default: a new one under runs/.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the run in --output. Options left out are those that it was started with; "
        "--iterations may be raised.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output, nothing else."),
)


def common_options(function: Function) -> Function:
    """Add the argument PROBLEM and the options that `run` and `compare` share."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_resume(resume: bool, output: Path | None) -> None:
    """Refuse `--resume` without a folder.

    Raises:
        InputError: if so.
    """
    if resume and output is None:
        raise InputError(
            "--resume", received="no --output", expected="--output with the folder of the run to go on with"
        )
