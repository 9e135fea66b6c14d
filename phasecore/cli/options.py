"""The argument and options that `run` and `compare` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from phasecore.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])


def once(ctx: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> Any:
    """Return the one value of an option of which several could be meant: the last alone would count, unsaid.

    Raises:
        InputError: if there are several.
    """
    if len(values) > 1:
        raise InputError(
            f"option {option.opts[0]!r}", received=" and ".join(repr(value) for value in values), expected="one of them"
        )
    return values[0] if values else None


_OPTIONS = (
    click.argument("problem"),
    click.option(
        "--backend",
        metavar="NAME",
        multiple=True,
        callback=once,
        help="Backend that trains: torch or keras. Default: torch.",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        multiple=True,
        callback=once,
        help="Set-up of the problem to start from: quick (default), paper, or another of the problem.",
    ),
    click.option("--iterations", type=int, help="Optimizer iterations."),
    click.option("--points", type=int, help="Collocation points."),
    click.option("--width", type=int, help="Neurons of each hidden layer."),
    click.option("--depth", type=int, help="Hidden layers."),
    click.option("--learning-rate", type=float, help="Adam's initial learning rate."),
    click.option(
        "--seed", type=int, multiple=True, callback=once, help="Seed of the points and the network. Default: 0."
    ),
    click.option("--every", type=int, help="Iterations between captures of the statistics."),
    click.option(
        "--sampling",
        metavar="NAME[:key=value,...]",
        multiple=True,
        callback=once,
        help="How collocation points are drawn and move: sobol, rad:every=500, or one of each, sobol+rad:every=500. "
        "Default: latin_hypercube.",
    ),
    click.option(
        "--precision",
        metavar="NAME",
        multiple=True,
        callback=once,
        help="float32 or float64: of parameters, points and residuals. L-BFGS gets further in float64, at up to twice "
        "the time. Default: the framework's, float32.",
    ),
    click.option(
        "--compiled/--no-compiled",
        default=None,
        help="Compile the training step with torch.compile: for large networks up to twice as fast, after up to a "
        "minute at the start. Keras does so by itself with TensorFlow and JAX. Default: no.",
    ),
    click.option(
        "--probes",
        "--probe",
        "probes",
        metavar="NAME[:key=value,...]",
        multiple=True,
        help="Measure these too at each capture, separated by commas or one by one: saturation:bins=20,layer_entropy. "
        "A default probe that is named takes the given options.",
    ),
    click.option(
        "--policy",
        "policies",
        metavar="NAME[:key=value,...]",
        multiple=True,
        help="Change the training when a phase begins: at_phase:phase=total_diffusion,do=lbfgs, stop_when_done; may be "
        "given several times, or joined by '+'.",
    ),
    click.option(
        "--logger",
        "loggers",
        metavar="NAME[:key=value,...]",
        multiple=True,
        help="Write the run down for another tool too, such as csv, tensorboard, mlflow or wandb:mode=offline; "
        "may be given several times.",
    ),
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


def all_probes(given: Sequence[str]) -> list[str] | None:
    """Return the probes that are measured by default, and those of `--probes`; None if none are given.

    Raises:
        InputError: for a malformed specification, or a probe that is there twice.

    Example:
        >>> all_probes(["residual_order:bins=8,saturation"])[-2:]
        ['residual_order:bins=8', 'saturation']
    """
    from phasecore.probes import DEFAULT_PROBES
    from phasecore.specifications import parse_specification, split_weightings

    if not given:
        return None
    asked: dict[str, str] = {}
    for text in split_weightings(",".join(given), "--probes"):
        name, _ = parse_specification(text, "--probes")
        if name in asked:
            raise InputError("--probes", received=f"{name!r} twice", expected="each probe once")
        asked[name] = text
    return [*(name for name in DEFAULT_PROBES if name not in asked), *asked.values()]


def check_resume(resume: bool, output: Path | None) -> None:
    """Refuse `--resume` without a folder.

    Raises:
        InputError: if so.
    """
    if resume and output is None:
        raise InputError(
            "--resume", received="no --output", expected="--output with the folder of the run to go on with"
        )
