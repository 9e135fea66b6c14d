"""The page of the study of policies, docs/policy_study.md, made of the jobs that are there. Trains nothing.

    python -m benchmarks.policies       # trains what is missing; hours
    python -m benchmarks.policy_study

Fixed before looking: medians over the seeds, geometric means over the problems. The built-in policy `quasi_newton`
needs no training of its own: it is the branch at the declared diffusion, but that at a tenth of the iterations where it
is declared before, and that at a quarter where it is not declared until then, each with the weights averaged.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.policies import LATER, OF_POLICY, OWN, PATIENCES, SEEDS, SHARES, STARTS, TUNED, WEIGHTS, Job, result
from benchmarks.policy_figure import draw
from benchmarks.schemes import spread

PAGE = Path(__file__).parents[1] / "docs" / "policy_study.md"
Results = Mapping[str, Mapping[str, Any]]
Chosen = Callable[[Results], Mapping[str, Any]]
RULES = (
    *(f"share {share:g}" for share in SHARES),
    *(f"plateau {patience}" for patience in PATIENCES),
    "diffusion declared",
    "total diffusion declared",
)

HEADING = f"""# When to leave Adam for L-BFGS, and with which weights

Made by `python -m benchmarks.policy_study` from the trainings in `benchmarks/results/policies/`. Each training is the
quick set-up of a problem, with uniform weights or residual-based attention (`rba`) at first; Adam alone makes the
preset's iterations, and its processor time is the budget of all others, which have the same Adam behind them up to the
switch, on the same core, captures included. Then L-BFGS, with the weights updated once per step, held as they are,
averaged over the points of each term, or uniform. Errors are relative L2 errors, medians over the seeds that are there,
in brackets the range; in the last column what Adam alone reaches over it. A rule that never switches has the result of
Adam alone. Rules: a share of the iterations; a plateau of the unweighted loss of {", ".join(map(str, PATIENCES))}
iterations; a phase that is declared.
"""


def branch(rule: str, weights: str = "updated") -> Chosen:
    """Return what picks the result of a rule: that of Adam alone where the rule never switched."""
    return lambda results: results.get(f"{rule}, {weights}", results["adam"])


def quasi_newton(results: Results) -> Mapping[str, Any]:
    """Return the result of the built-in policy with its defaults: see `phasecore.policies.quasi_newton`."""
    weights = OWN if f"share 0.1, {OWN}" in results else "updated"
    declared, early, late = (results.get(f"{rule}, {weights}") for rule in OF_POLICY)
    if early is None or late is None:
        return results["adam"]
    if declared is None or declared["began"]["iteration"] > late["began"]["iteration"]:
        return late
    return max(early, declared, key=lambda own: own["began"]["iteration"])


@functools.cache
def _of_seed(problem: str, start: str, seed: int, *, narrow: bool) -> Results | None:
    """Return what came out, read once: a training is prepared to compare with."""
    found = result(Job(problem, start, seed, narrow=narrow))
    return None if found is None else found["results"]


def whole(problem: str, start: str) -> list[Results]:
    """Return what came out for each reported seed of which all branches are there."""
    found = (_of_seed(problem, start, seed, narrow=False) for seed in SEEDS)
    return [results for results in found if results is not None]


def there(problem: str, start: str) -> list[Results]:
    """Return what came out for each reported seed of which at least the branches of the built-in policy are there."""
    found = (
        _of_seed(problem, start, seed, narrow=False) or _of_seed(problem, start, seed, narrow=True) for seed in SEEDS
    )
    return [results for results in found if results is not None]


def errors(trainings: Sequence[Results], chosen: Chosen) -> list[float]:
    """Return the final errors of some trainings; infinity where one failed."""
    ends = [chosen(results).get("error") for results in trainings]
    return [math.inf if error is None else float(error) for error in ends]


def middle(trainings: Sequence[Results], chosen: Chosen) -> float:
    """Return the median error, NaN where nothing is there."""
    found = errors(trainings, chosen)
    return statistics.median(found) if found else math.nan


def adam_alone(results: Results) -> Mapping[str, Any]:
    """Return the result of Adam alone."""
    return results["adam"]


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean, NaN of none.

    Example:
        >>> geometric([1.0, 4.0])
        2.0
    """
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def table(problem: str, start: str) -> str:
    """Return what every rule reached on a problem, from one start."""
    own, every = there(problem, start), whole(problem, start)
    lines = [f"| Adam alone | | | {spread(errors(own, adam_alone))} | 1 |"]
    for rule in RULES if every else ():
        for weights in WEIGHTS if start != "uniform" else WEIGHTS[:1]:
            found = errors(every, branch(rule, weights))
            lines.append(
                f"| {rule} | {weights if start != 'uniform' else 'none'} | {_switched(every, rule, weights)} "
                f"| {spread(found)} | {middle(every, adam_alone) / statistics.median(found):.2g} |"
            )
    lines.append(
        f"| **`quasi_newton`** | {OWN if start != 'uniform' else 'none'} | | {spread(errors(own, quasi_newton))} "
        f"| {middle(own, adam_alone) / middle(own, quasi_newton):.2g} |"
    )
    head = "| switch | weights | at iteration | error | gain |\n|---|---|---|---|---|"
    told = f"{len(own)} of {len(SEEDS)} seeds, {len(every)} with every rule."
    return "\n".join([f"### {problem}, {start}", told, "", head, *lines, ""])


def _switched(found: Sequence[Results], rule: str, weights: str) -> str:
    at = [results[name]["began"]["iteration"] for results in found if (name := f"{rule}, {weights}") in results]
    never = f"; never in {len(found) - len(at)} of {len(found)}" if len(at) < len(found) else ""
    return f"{spread(at)}{never}" if at else "never"


def bars() -> str:
    """Return the table of what a policy was to reach, from `rba`, over the problems that are there."""

    def gain(problem: str) -> float:
        return middle(there(problem, "rba"), adam_alone) / middle(there(problem, "rba"), quasi_newton)

    def over_policy(problem: str, rules: Sequence[str], of_weights: Sequence[str] = WEIGHTS) -> float:
        every = whole(problem, "rba")
        best = min(middle(every, branch(rule, weights)) for rule in rules for weights in of_weights)
        return best / middle(every, quasi_newton)

    def plateaus(of_weights: Sequence[Sequence[str]]) -> float:
        ways = [(f"plateau {patience}", weights) for patience in PATIENCES for weights in of_weights]
        return min(geometric([over_policy(problem, [rule], weights) for problem in compared]) for rule, weights in ways)

    tuned, aside = ([problem for problem in of if there(problem, "rba")] for of in (TUNED, LATER))
    compared = [problem for problem in tuned if whole(problem, "rba")]
    shares = geometric([over_policy(problem, RULES[: len(SHARES)]) for problem in compared])
    one_for_all, for_each = plateaus([[weights] for weights in WEIGHTS]), plateaus([WEIGHTS])
    gains = list(map(gain, tuned))
    share = "best fixed share, weights too, chosen in hindsight for each problem, over the policy"
    lines = [
        ("Adam + rba over the policy, geometric mean over the problems", tuned, "5", geometric(gains)),
        ("the same, worst problem", tuned, "1.5", min(gains, default=math.nan)),
        (share, compared, "0.8", shares),
        ("plateau rule, its best patience and weights, over the policy", compared, "1.2", one_for_all),
        ("the same, its weights chosen in hindsight for each problem", compared, "-", for_each),
        ("problems kept aside: Adam + rba over the policy", aside, "3", geometric(list(map(gain, aside)))),
    ]
    rows = [
        f"| {what} | {', '.join(of) or 'none yet'} | {bar} | {'-' if math.isnan(found) else f'{found:.2g}'} |"
        for what, of, bar, found in lines
    ]
    head = "| error of | problems | bar | found |\n|---|---|---|---|"
    return "\n".join(["## `quasi_newton`, as it is", "From `rba`.", "", head, *rows, ""])


def answers() -> str:
    """Return which moment and which weights were best, over all trainings from `rba`, each beside itself."""
    every = [results for problem in (*TUNED, *LATER) for results in whole(problem, "rba")]

    def ratio(one: Chosen, other: Chosen) -> str:
        pairs = [(one(results).get("error"), other(results).get("error")) for results in every]
        found = [first / second for first, second in pairs if first and second]
        better = sum(value < 1 for value in found)
        return f"{geometric(found):.2g} ({min(found):.2g} to {max(found):.2g}), lower in {better} of {len(found)}"

    early = "share 0.1"
    declared = [results for results in every if f"total diffusion declared, {OWN}" in results]
    moments = [
        (f"{rule}, {OWN}, over a tenth of the iterations, {OWN}", branch(rule, OWN), branch(early, OWN))
        for rule in RULES
        if rule != early
    ]
    weights = [
        (f"{name}, {OWN}, over {name}, {other}", branch(name, OWN), branch(name, other))
        for name in ("share 0.1", "share 0.5")
        for other in WEIGHTS
        if other != OWN
    ]
    rows = [f"| {what} | {ratio(one, other)} |" for what, one, other in (*moments, *weights)] if every else []
    told = (
        f"Errors over errors of the same training, from `rba`: geometric mean over {len(every)} trainings (range), and "
        f"in how many it is lower. Total diffusion is declared in {len(declared)} of them; a rule that never switches "
        "has the error of Adam alone."
    )
    return "\n".join(["## Which moment, which weights", told, "", "| error of | found |\n|---|---|", *rows, ""])


def page() -> str:
    """Return the page of the documentation, made of all jobs that are there."""
    starts = [(problem, start) for problem in (*TUNED, *LATER) for start in STARTS]
    tables = [table(*own) for own in starts if there(*own)]
    count, every = (sum(len(of(*own)) for own in starts) for of in (there, whole))
    told = f"Of the {len(starts) * len(SEEDS)} trainings {count} are there, {every} of them with all their branches.\n"
    picture = "![What leaving Adam gained, by the moment and the weights](images/policy_study.png)\n"
    return "\n".join([HEADING, bars(), answers(), picture, "## Every rule", *tables, told])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    picture = PAGE.parent / "images" / "policy_study.png"
    picture.parent.mkdir(exist_ok=True)
    draw(picture, {problem: whole(problem, "rba") for problem in (*TUNED, *LATER) if whole(problem, "rba")})
    print(PAGE)


if __name__ == "__main__":
    main()
