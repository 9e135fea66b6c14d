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

from benchmarks.policies import LATER, PATIENCES, SEEDS, SHARES, STARTS, TUNED, WEIGHTS, Job, result
from benchmarks.policy_figure import draw
from benchmarks.schemes import spread

PAGE = Path(__file__).parents[1] / "docs" / "policy_study.md"
Results = Mapping[str, Mapping[str, Any]]
Chosen = Callable[[Results], Mapping[str, Any]]
OWN = "averaged"
"""What becomes of the weights by default."""

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
    declared, early, late = (
        results.get(f"{rule}, {weights}") for rule in ("diffusion declared", "share 0.1", "share 0.25")
    )
    if early is None or late is None:
        return results["adam"]
    if declared is None or declared["began"]["iteration"] > late["began"]["iteration"]:
        return late
    return max(early, declared, key=lambda own: own["began"]["iteration"])


@functools.cache
def there(problem: str, start: str) -> list[Results]:
    """Return what came out for each reported seed that is there, read once: a training is prepared to compare with."""
    found = (result(Job(problem, start, seed)) for seed in SEEDS)
    return [own["results"] for own in found if own is not None]


def errors(problem: str, start: str, chosen: Chosen) -> list[float]:
    """Return the final errors of the seeds that are there; infinity where a training failed."""
    ends = [chosen(results).get("error") for results in there(problem, start)]
    return [math.inf if error is None else float(error) for error in ends]


def middle(problem: str, start: str, chosen: Chosen) -> float:
    """Return the median error, NaN where nothing is there."""
    found = errors(problem, start, chosen)
    return statistics.median(found) if found else math.nan


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean, NaN of none.

    Example:
        >>> geometric([1.0, 4.0])
        2.0
    """
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def table(problem: str, start: str) -> str:
    """Return what every rule reached on a problem, from one start."""
    adam = middle(problem, start, lambda results: results["adam"])
    lines = [f"| Adam alone | | | {spread(errors(problem, start, lambda results: results['adam']))} | 1 |"]
    for rule in RULES:
        for weights in WEIGHTS if start != "uniform" else WEIGHTS[:1]:
            chosen = branch(rule, weights)
            found = errors(problem, start, chosen)
            lines.append(
                f"| {rule} | {weights if start != 'uniform' else 'none'} | {_switched(problem, start, rule, weights)} "
                f"| {spread(found)} | {adam / statistics.median(found):.2g} |"
            )
    own = OWN if start != "uniform" else "none"
    lines.append(
        f"| **`quasi_newton`** | {own} | | {spread(errors(problem, start, quasi_newton))} "
        f"| {adam / middle(problem, start, quasi_newton):.2g} |"
    )
    head = "| switch | weights | at iteration | error | gain |\n|---|---|---|---|---|"
    return "\n".join([f"### {problem}, {start}", head, *lines, ""])


def _switched(problem: str, start: str, rule: str, weights: str) -> str:
    found = there(problem, start)
    at = [results[name]["began"]["iteration"] for results in found if (name := f"{rule}, {weights}") in results]
    never = f"; never in {len(found) - len(at)} of {len(found)}" if len(at) < len(found) else ""
    return f"{spread(at)}{never}" if at else "never"


def bars() -> str:
    """Return the table of what a policy was to reach, from `rba`, over the problems that are there."""

    def best(problem: str, rules: Sequence[str]) -> float:
        return min(middle(problem, "rba", branch(rule, weights)) for rule in rules for weights in WEIGHTS)

    def of(problems: Sequence[str]) -> list[str]:
        return [problem for problem in problems if there(problem, "rba")]

    own = {problem: middle(problem, "rba", quasi_newton) for problem in of((*TUNED, *LATER))}
    tuned = of(TUNED)
    gains = [middle(problem, "rba", lambda results: results["adam"]) / own[problem] for problem in tuned]
    shares = [best(problem, RULES[: len(SHARES)]) / own[problem] for problem in tuned]
    plateaus = {
        patience: geometric([best(problem, [f"plateau {patience}"]) / own[problem] for problem in tuned])
        for patience in PATIENCES
    }
    aside = [middle(problem, "rba", lambda results: results["adam"]) / own[problem] for problem in of(LATER)]
    lines = [
        ("Adam + rba over the policy, geometric mean over the problems", "5", geometric(gains)),
        ("the same, worst problem", "1.5", min(gains, default=math.nan)),
        (
            "best fixed share, weights too, chosen in hindsight for each problem, over the policy",
            "0.8",
            geometric(shares),
        ),
        ("plateau rule, its best patience, over the policy", "1.2", min(plateaus.values())),
        ("problems kept aside: Adam + rba over the policy", "3", geometric(aside)),
    ]
    rows = [f"| {what} | {bar} | {'-' if math.isnan(found) else f'{found:.2g}'} |" for what, bar, found in lines]
    told = f"From `rba`, on {', '.join(tuned) or 'no problem yet'}."
    return "\n".join(["## `quasi_newton`, as it is", told, "", "| error of | bar | found |\n|---|---|---|", *rows, ""])


def answers() -> str:
    """Return which moment and which weights were best, over all trainings from `rba`, each beside itself."""
    every = [results for problem in (*TUNED, *LATER) for results in there(problem, "rba")]

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
    count = sum(len(there(*own)) for own in starts)
    told = f"{count} of the {len(starts) * len(SEEDS)} trainings with all their branches are there.\n"
    picture = "![What leaving Adam gained, by the moment and the weights](images/policy_study.png)\n"
    return "\n".join([HEADING, bars(), answers(), picture, "## Every rule", *tables, told])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    picture = PAGE.parent / "images" / "policy_study.png"
    picture.parent.mkdir(exist_ok=True)
    draw(picture, {problem: there(problem, "rba") for problem in (*TUNED, *LATER) if there(problem, "rba")})
    print(PAGE)


if __name__ == "__main__":
    main()
