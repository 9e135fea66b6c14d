"""What a newcomer sees: each built-in problem with its preset "quick", residual-based attention and seed 0.

    python -m benchmarks.presets            # trains what is missing, and prints the table of docs/problems.md
    python -m benchmarks.presets --table    # trains nothing

The runs are kept beside those of the pool. Seconds are processor time of one thread, captures included.
"""

from __future__ import annotations

import argparse

from benchmarks.evidence import ERROR, measured
from benchmarks.pool import Run, train_missing
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="train nothing")
    missing = {*registry.names("problem")} - {*OWN, *FIRST}
    if not parser.parse_args().table:
        train_missing(runs())
    print(table())
    if missing:
        print(f"not trained: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
