"""What a newcomer sees: each built-in problem with its preset "quick", residual-based attention and seed 0.

    python -m benchmarks.presets            # trains what is missing, and prints the tables of docs/problems.md
    python -m benchmarks.presets --table    # trains nothing

A second table has the presets that train at a constant rate, "phases" until total diffusion: seeds 0 to 4 of uniform
weights and of residual-based attention. Rates and iterations were chosen with seeds 10 to 12.

The runs are kept beside those of the pool. Seconds are processor time of one thread, captures included.
"""

from __future__ import annotations

import argparse
import itertools
import statistics

from benchmarks.pool import CONSTANT, PAIR, SEEDS_OF_PAIR, Run, train_missing
from benchmarks.schemes import spread
from benchmarks.study.claims import ERROR
from benchmarks.study.runs import measured
from phasecore import registry
from phasecore.phases import Phase
from phasecore.reporting.wording import number

OWN = ("burgers_inverse", "convection", "diffusion_reaction", "kdv", "lorenz", "poisson_l_shape", "wave")
FIRST = ("allen_cahn", "burgers", "helmholtz", "lid_driven_cavity")


def runs() -> list[Run]:
    """Return a run of each problem."""
    return [Run(problem, "rba", 0) for problem in sorted((*OWN, *FIRST))]


def line(run: Run) -> str:
    """Return what came out, a row in Markdown; dashes where it was not trained with the preset of now."""
    found = measured(run)
    if found is None:
        return f"| `{run.problem}` | - | - | - |"
    starts = [
        f"{item.phase.replace('_', ' ')} from {item.iteration} ({item.confidence:.0%})"
        for item in found.timeline.transitions
        if item.phase is not Phase.FITTING
    ]
    error, seconds = number(found.final(ERROR)), f"{found.kept['processor_seconds']:.0f}"
    return f"| `{run.problem}` | {error} | {seconds} | {', '.join(starts) or found.timeline.reason} |"


def table() -> str:
    """Return the table of the page on problems."""
    head = "| problem | relative L2 error | processor seconds | phases (how sure) |\n|---|---|---|---|"
    return "\n".join([head, *map(line, runs())])


def runs_at_constant_rate(problem: str, weighting: str) -> list[Run]:
    """Return the runs of the preset that trains at a constant rate."""
    return [Run(problem, weighting, seed, preset=CONSTANT[problem]) for seed in SEEDS_OF_PAIR]


def line_at_constant_rate(problem: str, weighting: str) -> str:
    """Return what came out of the seeds that are there, medians and ranges, a row in Markdown."""
    found = [one for run in runs_at_constant_rate(problem, weighting) if (one := measured(run)) is not None]
    cells = [spread([one.final(ERROR) for one in found]), spread([one.kept["processor_seconds"] for one in found])]
    for phase in (Phase.DIFFUSION, Phase.TOTAL_DIFFUSION):
        begun = [item for one in found if (item := one.timeline.transition(phase)) is not None]
        starts = sorted(item.iteration for item in begun)
        where = f"{statistics.median(starts):.0f} ({starts[0]} to {starts[-1]})" if starts else "none"
        sure = f", {min(item.confidence for item in begun):.0%} sure or more" if begun else ""
        cells.append(f"{where}; {len(begun)} of {len(found)}{sure}")
    return f"| `{problem}`, `{CONSTANT[problem]}` | {weighting} | {' | '.join(cells)} |"


def table_at_constant_rate() -> str:
    """Return the table of the presets that train at a constant rate."""
    head = "| problem, preset | weighting | relative L2 error | processor seconds | diffusion | total diffusion |"
    lines = [line_at_constant_rate(problem, weighting) for problem in sorted(CONSTANT) for weighting in PAIR]
    return "\n".join([f"{head}\n|---|---|---|---|---|---|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="train nothing")
    missing = {*registry.names("problem")} - {*OWN, *FIRST}
    if not parser.parse_args().table:
        others = (runs_at_constant_rate(problem, weighting) for problem in CONSTANT for weighting in PAIR)
        train_missing([*runs(), *itertools.chain(*others)])
    print(table(), table_at_constant_rate(), sep="\n\n")
    if missing:
        print(f"not trained: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
