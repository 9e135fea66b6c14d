"""Every registered weighting scheme on the quick set-up of every problem: errors and phases side by side.

    python benchmarks/schemes.py                        # goes on where it stopped; hours on two cores
    python benchmarks/schemes.py --problems helmholtz --seeds 0
    python benchmarks/schemes.py --tables               # trains nothing

Fixed before looking: the quick preset of each problem, torch, float32, seeds 0 to 2, each scheme with its default
options, all runs from the same networks and points. What ran is in `benchmarks/results/schemes/`, one JSON file per
run, written when the run ends; `docs/schemes.md` is made from these files alone.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import phasecore
from phasecore import registry
from phasecore.errors import TrainingError
from phasecore.phases import Phase
from phasecore.reporting.wording import number
from phasecore.runs import execute, prepare

RESULTS = Path(__file__).parent / "results" / "schemes"
PAGE = Path(__file__).parents[1] / "docs" / "schemes.md"
PROBLEMS = ("helmholtz", "burgers", "allen_cahn", "lid_driven_cavity")
SEEDS = (0, 1, 2)

HEADING = """# Every scheme on every problem

Made by `python benchmarks/schemes.py` from the files in `benchmarks/results/schemes/`: the quick set-up of each
problem, each scheme with its default options, the same networks and points for all. Medians over the seeds, in brackets
the range. An error at the end of so few iterations is no verdict on a scheme: it is what a newcomer sees who types
`phasecore compare PROBLEM --weightings all`.
"""


def file_of(problem: str, scheme: str, seed: int) -> Path:
    return RESULTS / f"{problem}-{scheme}-seed{seed}.json"


def trained(problem: str, scheme: str, seed: int) -> dict[str, Any]:
    """Train one network, and return what is kept of it."""
    training = prepare(problem, weighting=scheme, backend="torch", seed=seed)
    kept: dict[str, Any] = {
        "problem": problem,
        "weighting": training.scheme_name,
        "seed": seed,
        "iterations": training.settings.iterations,
        "points": training.settings.points,
        "versions": {"phasecore": phasecore.__version__, **registry.backend("torch").versions()},
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    try:
        outcome = execute(training)
    except TrainingError as error:
        return {**kept, "diverged": str(error)}
    errors = [row["relative_l2_error"] for row in outcome.rows if row.get("relative_l2_error") is not None]
    finite = [error for error in errors if math.isfinite(error)]
    return {
        **kept,
        "seconds": round(outcome.seconds, 1),
        "relative_l2_error": outcome.relative_l2_error if math.isfinite(outcome.relative_l2_error) else None,
        "lowest_relative_l2_error": min(finite, default=None),
        "phases": outcome.timeline.to_json(),
    }


def begins(result: dict[str, Any], phase: Phase) -> int | None:
    """The iteration at which a phase begins, or None."""
    for transition in result.get("phases", {}).get("transitions", ()):
        if transition["phase"] == phase.value:
            return int(transition["iteration"])
    return None


def table(problem: str, results: Sequence[dict[str, Any]]) -> str:
    """The runs of a problem in Markdown, best median error first."""
    lines = {}
    for scheme in dict.fromkeys(result["weighting"] for result in results):
        own = [result for result in results if result["weighting"] == scheme]
        errors = [result["relative_l2_error"] for result in own if result.get("relative_l2_error") is not None]
        starts = [start for result in own if (start := begins(result, Phase.TOTAL_DIFFUSION)) is not None]
        median = statistics.median(errors) if errors else math.inf
        spread = f"{number(median)} ({number(min(errors))} to {number(max(errors))})" if errors else "-"
        reached = f"{len(starts)} of {len(own)}" + (f", from {round(statistics.median(starts))}" if starts else "")
        diverged = sum("diverged" in result for result in own)
        seconds = [result["seconds"] for result in own if "seconds" in result]
        time = f"{statistics.median(seconds):.0f} s" if seconds else "-"
        lines[scheme] = (median, f"| `{scheme}` | {spread} | {reached} | {diverged or '-'} | {time} |")
    settings = results[0]
    head = (
        f"## {problem}\n{settings['iterations']} iterations, {settings['points']} points, seeds "
        f"{', '.join(map(str, sorted({result['seed'] for result in results})))}.\n\n"
        "| scheme | relative L2 error at the end | total diffusion | diverged | time |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(line for _, line in sorted(lines.values())) + "\n"


def write_page() -> None:
    """Make the page of the documentation from all results that are there."""
    parts = [HEADING]
    for problem in PROBLEMS:
        results = [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{problem}-*-seed*.json"))]
        parts += [table(problem, results)] if results else []
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"page: {PAGE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--schemes", default=",".join(registry.names("weighting")))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--tables", action="store_true", help="only make the page")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs = [
        (problem, scheme, int(seed))
        for seed in given.seeds.split(",")
        for problem in given.problems.split(",")
        for scheme in given.schemes.split(",")
    ]
    for problem, scheme, seed in () if given.tables else runs:
        file = file_of(problem, scheme, seed)
        if file.exists():
            continue
        result = trained(problem, scheme, seed)
        file.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        print(f"{file.name}: {result.get('diverged') or number(result['relative_l2_error'])}", flush=True)
    write_page()


if __name__ == "__main__":
    main()
