"""Every registered weighting scheme on the quick set-up of every problem: errors and phases side by side.

    python -m benchmarks.pool       # trains what is missing; hours on two cores
    python -m benchmarks.schemes    # makes docs/schemes.md of what is there; trains nothing

Fixed before looking: seeds 0 to 2 count, of every scheme, also where further seeds are there; a phase counts as begun
where the detector says so with a confidence of at least 0.5; the schemes of a problem are sorted by their median
error at the last iteration.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pool import PROBLEMS, SEEDS_OF_OTHERS, Run, planned, result
from phasecore.phases import Phase, Timeline, detect
from phasecore.reporting.wording import number

PAGE = Path(__file__).parents[1] / "docs" / "schemes.md"
LEAST_CONFIDENCE = 0.5
COLUMNS = (
    "scheme",
    "runs",
    "error at the end",
    "lowest error",
    "diffusion",
    "total diffusion",
    "diverged",
    "processor seconds",
)

HEADING = """# Every scheme on every problem

Made by `python -m benchmarks.schemes` from the runs in `benchmarks/results/pool/`: the quick set-up of each problem,
each scheme with its default options (or those that the preset recommends), from the same networks and points. A cell
has the median over the seeds, in brackets the range. An error at the end of so few iterations is no verdict on a
scheme: it is what a newcomer sees who types `phasecore compare PROBLEM --weightings all`. Schemes that need what a
problem lacks, such as a time, are not in its table. Phases are found in the stored curves when this page is made, and
count with a confidence of 0.5 or more.
"""


def timeline_of(kept: Mapping[str, Any]) -> Timeline:
    """Return the phases of a stored run."""
    return detect(kept["history"])


def begins(timeline: Timeline, phase: Phase) -> int | None:
    """Return the iteration at which a phase begins, or None."""
    for transition in timeline.transitions:
        if transition.phase is phase and transition.confidence >= LEAST_CONFIDENCE:
            return transition.iteration
    return None


def spread(values: Sequence[float]) -> str:
    """Return the median and the range in words, the range only if there are several.

    Example:
        >>> spread([0.1, 0.3, 0.2]), spread([0.1]), spread([])
        ('0.2 (0.1 to 0.3)', '0.1', '-')
    """
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def begun(timelines: Sequence[Timeline], phase: Phase) -> str:
    """Return in how many runs a phase begins, and the median of where."""
    starts = [start for timeline in timelines if (start := begins(timeline, phase)) is not None]
    return f"{len(starts)} of {len(timelines)}" + (f", from {round(statistics.median(starts))}" if starts else "")


def row(scheme: str, found: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Return the median error of a scheme's runs, by which rows are sorted, and the row in Markdown."""
    ended = [kept for kept in found if "history" in kept]
    timelines = [timeline_of(kept) for kept in ended]
    errors = [kept["history"]["relative_l2_error"] for kept in ended]
    last = [curve[-1] for curve in errors if curve[-1] is not None]
    lowest = [min(value for value in curve if value is not None) for curve in errors]
    cells = [
        f"`{scheme}`",
        str(len(found)),
        spread(last),
        spread(lowest),
        begun(timelines, Phase.DIFFUSION) if timelines else "-",
        begun(timelines, Phase.TOTAL_DIFFUSION) if timelines else "-",
        str(len(found) - len(ended)) if len(ended) < len(found) else "-",
        spread([kept["processor_seconds"] for kept in ended]),
    ]
    return (statistics.median(last) if last else math.inf), f"| {' | '.join(cells)} |"


def table(problem: str, by_scheme: Mapping[str, Sequence[Mapping[str, Any]]], missing: int) -> str:
    """Return the section of a problem."""
    settings = next(iter(by_scheme.values()))[0]["configuration"]
    parameters = ", ".join(f"{name} {value:.4g}" for name, value in settings["parameters"].items())
    used = settings["settings"]
    rows = sorted(row(scheme, found) for scheme, found in by_scheme.items())
    there = sum(len(found) for found in by_scheme.values())
    setting = (
        f"{parameters}; {used['points']} points, {used['depth']} x {used['width']} neurons, learning rate "
        f"{used['learning_rate']:g}, {used['iterations']} iterations. {there} of {there + missing} runs are there."
    )
    head = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"
    return "\n".join([f"## {problem}", setting, "", head, *(line for _, line in rows), ""])


def page() -> str:
    """Return the page of the documentation, made of all runs that are there."""
    parts = [HEADING]
    for problem in PROBLEMS:
        runs = [run for run in planned() if _counts(run, problem)]
        by_scheme: dict[str, list[dict[str, Any]]] = {}
        for run in runs:
            if (kept := result(run)) is not None:
                by_scheme.setdefault(run.weighting, []).append(kept)
        missing = len(runs) - sum(map(len, by_scheme.values()))
        parts.append(
            table(problem, by_scheme, missing) if by_scheme else f"## {problem}\nNone of {missing} runs is there yet.\n"
        )
    return "\n".join(parts)


def _counts(run: Run, problem: str) -> bool:
    return run.problem == problem and run.seed in SEEDS_OF_OTHERS and run.steps == "all points"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
