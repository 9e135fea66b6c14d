"""Which scheme helps against what: measured by symptom, each run against uniform weights with the same seed.

    python -m benchmarks.pool                   # trains what the studies share; hours on two cores
    python -m benchmarks.which_scheme --train   # trains what this page needs beside it; half an hour
    python -m benchmarks.which_scheme           # makes docs/which_scheme.md of what is there; trains nothing

Fixed before looking: the measures of each symptom below; seeds 0 to 2; final values are medians over the last tenth of
a run; a cell is the geometric mean over the seeds of the ratio to uniform weights (a mean difference for an order), in
brackets its range; schemes are sorted by the geometric mean over the problems. The front is that of the convection
equation.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pool import PROBLEMS, SEEDS_OF_OTHERS, Run, applies, planned, train_missing
from benchmarks.study.claims import ERROR
from benchmarks.study.measures import Measured
from benchmarks.study.runs import measured
from phasecore.reporting.wording import number

PAGE = Path(__file__).parents[1] / "docs" / "which_scheme.md"
EQUATIONS = ("loss_pde", "loss_momentum_x", "loss_momentum_y")
BOTH, FRONT = "rba+grad_norm", "convection"
FRONT_SCHEMES = ("uniform", "causal", "rba", "grad_norm", "ntk", "causal+grad_norm")


@dataclass(frozen=True)
class Symptom:
    """What somebody sees, what would act on it by its formula, and how it is measured.

    Attributes:
        title: what is seen.
        acts: what acts on it, and why.
        measured: the measure in words.
        measure: the value of a run, of which the page compares a scheme's with that of uniform weights.
        compared: how: "ratio", smaller is better, or "difference", larger is better.
        problems: where it is measured.
    """

    title: str
    acts: str
    measured: str
    measure: Callable[[Measured], float]
    compared: str = "ratio"
    problems: tuple[str, ...] = PROBLEMS


def losses_of(run: Measured, equations: bool) -> float:
    """Return the sum of a run's final unweighted losses, of its equations or of its conditions."""
    names = [name for name in run.kept["history"] if name.startswith("loss_") and (name in EQUATIONS) == equations]
    return sum(run.final(name) for name in names)


SYMPTOMS = (
    Symptom(
        "One condition is ignored",
        "Its `loss_TERM` stays while the others fall. Schemes by term act on it: `grad_norm` makes the terms' "
        "gradients equally long, `learning_rate_annealing` raises conditions to the size of the equations, `ntk` those "
        "whose errors decay slowly; and schemes that weight the points of conditions too, `self_adaptive` and `brdr`.",
        "The conditions' unweighted losses at the end, over those with uniform weights: below 1, conditions are met "
        "better.",
        lambda run: losses_of(run, equations=False),
    ),
    Symptom(
        "Conditions are met, the equation is not",
        "The reverse: the equations' loss is what stays. Schemes by term lower the conditions then, or raise the "
        "equations.",
        "The equations' unweighted losses at the end, over those with uniform weights.",
        lambda run: losses_of(run, equations=True),
    ),
    Symptom(
        "Residuals sit in one corner",
        "The residual order stays low. Schemes by point act on it: `rba`; `vrba` where the largest residual is to fall "
        "before the mean; `brdr` where points lag behind their own past.",
        "The order of the absolute residuals at the end, minus that with uniform weights: above 0, residuals are "
        "spread more evenly over the domain.",
        lambda run: run.final("absolute_residual_order"),
        compared="difference",
    ),
    Symptom(
        "A front does not move",
        "Late times are fitted while early ones are wrong, or the solution is trivial from some time on. `causal` lets "
        "later times count when earlier ones are solved; `initial_factor` where the initial condition itself is not "
        "met.",
        "The error at the end on the convection equation, over that with uniform weights. The quick set-up is mild: "
        "there uniform weights solve it too, so the symptom itself is not seen; what is compared is who does better.",
        lambda run: run.final(ERROR),
        problems=(FRONT,),
    ),
    Symptom(
        "The error is too large, whatever the reason",
        "All that acts on something above; no formula says which.",
        "The error at the end, over that with uniform weights.",
        lambda run: run.final(ERROR),
    ),
    Symptom(
        "A step takes too long",
        "Schemes of losses alone (`soft_adapt`, `relobralo`) read what is there; `grad_norm`, "
        "`learning_rate_annealing` and `ntk` need passes of their own, every so many iterations.",
        "Processor time of a run with its captures, over that with uniform weights. Most runs were trained beside "
        "other work, those of uniform weights and `rba` at quieter times: up to two fifths may be the machine's.",
        lambda run: float(run.kept["processor_seconds"]),
    ),
)

HEADING = f"""# Which scheme?

Start from what you see in the history or the report. Each section says what acts on it by its formula
([weighting](weighting.md)), and what was measured: on the quick set-ups of the problems named, seeds
{", ".join(map(str, SEEDS_OF_OTHERS))}, each run against uniform weights with the same seed, network and points. A cell
is the geometric mean over the seeds, in brackets the range. `python -m benchmarks.which_scheme` makes this page of the
runs in `benchmarks/results/pool/`; errors and phases of each are in [every scheme on every problem](schemes.md).

Set-ups of minutes are no verdict on yours: `phasecore compare PROBLEM --weightings uniform,rba,grad_norm --seeds 0,1,2`
puts schemes side by side on your problem, and that decides.
"""


def runs() -> tuple[Run, ...]:
    """Return all runs that the page reads, those that only it needs last."""
    shared = [run for run in planned() if run.seed in SEEDS_OF_OTHERS and run.steps == "all points"]
    both = [Run(problem, BOTH, seed) for problem in PROBLEMS for seed in SEEDS_OF_OTHERS]
    front = [Run(FRONT, scheme, seed) for scheme in FRONT_SCHEMES for seed in SEEDS_OF_OTHERS]
    return (*shared, *front, *both)


def against_uniform(symptom: Symptom, problem: str, scheme: str) -> list[float]:
    """Return the ratio or difference to uniform weights, of each seed that is there for both."""
    found = []
    for seed in SEEDS_OF_OTHERS:
        own, other = measured(Run(problem, scheme, seed)), measured(Run(problem, "uniform", seed))
        if own is not None and other is not None:
            value, base = symptom.measure(own), symptom.measure(other)
            found.append(value / base if symptom.compared == "ratio" else value - base)
    return [value for value in found if math.isfinite(value)]


def middle(values: Sequence[float], compared: str) -> float:
    """Return the geometric mean of ratios, the mean of differences; NaN of none.

    Example:
        >>> round(middle([0.5, 2.0], "ratio"), 9), middle([-0.5, 1.5], "difference")
        (1.0, 0.5)
    """
    if not values:
        return math.nan
    return float(np.exp(np.mean(np.log(values)))) if compared == "ratio" else float(np.mean(values))


def cell(values: Sequence[float], compared: str) -> str:
    """Return a mean and its range in words.

    Example:
        >>> cell([0.5, 2.0], "ratio"), cell([0.25], "difference"), cell([], "ratio")
        ('1 (0.5 to 2)', '+0.25', '-')
    """
    if not values:
        return "-"
    sign = "" if compared == "ratio" else "+"
    told = [f"{value:{sign}.2g}" for value in (middle(values, compared), min(values), max(values))]
    return told[0] if len(values) == 1 else f"{told[0]} ({told[1]} to {told[2]})"


@functools.cache
def compared(symptom: Symptom) -> dict[str, list[list[float]]]:
    """Return what was measured of each scheme, {scheme: [values of each problem]}, best scheme first."""
    schemes = {run.weighting: None for run in runs() if run.problem in symptom.problems and run.weighting != "uniform"}
    found = {scheme: [against_uniform(symptom, problem, scheme) for problem in symptom.problems] for scheme in schemes}

    def key(scheme: str) -> float:
        overall = together(found[scheme], symptom.compared)
        return math.inf if math.isnan(overall) else overall if symptom.compared == "ratio" else -overall

    return {scheme: found[scheme] for scheme in sorted(schemes, key=key)}


def together(by_problem: Sequence[Sequence[float]], compared: str) -> float:
    """Return the mean over the problems that are there, each of which counts the same; NaN of none."""
    return middle([middle(values, compared) for values in by_problem if values], compared)


def section(symptom: Symptom) -> str:
    """Return a symptom with the table of what was measured, best scheme first."""
    several = len(symptom.problems) > 1
    lines = []
    for scheme, by_problem in compared(symptom).items():
        cells = [cell(values, symptom.compared) for values in by_problem]
        overall = [together(by_problem, symptom.compared)] if any(by_problem) else []
        lines.append(
            f"| {' | '.join([f'`{scheme}`', *([cell(overall, symptom.compared)] if several else []), *cells])} |"
        )
    columns = ["scheme", *(["all together"] if several else []), *symptom.problems]
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    parts = [f"## {symptom.title}", symptom.acts, "", symptom.measured, "", head, *lines]
    return "\n".join([*parts, "", _levels(symptom), ""])


def summary() -> str:
    """Return the table at the top: for each symptom the schemes that measured best, of those tried on all problems."""
    lines = ["| what you see | measured best, against uniform weights |", "|---|---|"]
    for symptom in SYMPTOMS:
        best = [
            f"`{scheme}` {cell([together(by_problem, symptom.compared)], symptom.compared)}"
            for scheme, by_problem in compared(symptom).items()
            if all(by_problem)
        ]
        anchor = symptom.title.lower().replace(",", "").replace(" ", "-")
        lines.append(f"| [{symptom.title}](#{anchor}) | {', '.join(best[:3]) or '-'} |")
    return "\n".join([*lines, ""])


def _levels(symptom: Symptom) -> str:
    """Say what uniform weights themselves reach, so that a ratio has a size."""
    told = []
    for problem in symptom.problems:
        own = [symptom.measure(run) for seed in SEEDS_OF_OTHERS if (run := measured(Run(problem, "uniform", seed)))]
        if own:
            told.append(f"{problem} {number(float(np.median(own)))}")
    return f"With uniform weights (medians): {', '.join(told)}." if told else "No run is there yet."


def settings_of(found: Mapping[str, Run]) -> str:
    """Return a line of what was trained for each problem."""
    lines = []
    for problem, run in found.items():
        kept = measured(run)
        if kept is not None:
            parameters = kept.kept["configuration"]["parameters"].items()
            used = kept.kept["configuration"]["settings"]
            told = ", ".join(f"{name} {value:.4g}" for name, value in parameters)
            lines.append(
                f"- {problem}: {told}; {used['points']} points, {used['depth']} x {used['width']} neurons, learning "
                f"rate {used['learning_rate']:g}, {used['iterations']} iterations"
            )
    return "\n".join(["## What was trained", *lines, ""]) if lines else ""


def page() -> str:
    """Return the page of the documentation, made of all runs that are there."""
    first = {problem: Run(problem, "uniform", SEEDS_OF_OTHERS[0]) for problem in (*PROBLEMS, FRONT)}
    return "\n".join([HEADING, summary(), *map(section, SYMPTOMS), settings_of(first)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train what is missing")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further run after so many")
    given = parser.parse_args()
    if given.train:
        train_missing([run for run in runs() if applies(run.problem, run.weighting)], given.minutes)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
