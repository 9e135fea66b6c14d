"""Train the project's own problems, detect their phases, and draw every run for a person to judge.

    python benchmarks/own_runs.py --output DIR                  four problems, two weightings, two seeds, quick preset
    python benchmarks/own_runs.py --output DIR --iterations 3000 --problems helmholtz,burgers --seeds 0

Each training is a `phasecore run` in a process of its own, one after the other; runs that DIR already holds are not
trained again. A table of what was found goes to standard output, a picture of each run to DIR.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from phasecore.phases import Phase, Timeline, detect, replay
from phasecore.recording.reading import read_curve
from phasecore.reporting.timeline_figure import draw_timeline

PROBLEMS = "helmholtz,burgers,allen_cahn,lid_driven_cavity"
WEIGHTINGS = "uniform,rba"


def train(problem: str, weighting: str, seed: str, folder: Path, options: list[str]) -> None:
    command = [sys.executable, "-c", "from phasecore.cli import main; main()", "run", problem]
    command += ["--weighting", weighting, "--seed", seed, "--output", str(folder), "--json", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def cell(timeline: Timeline, phase: Phase) -> str:
    for found in timeline.transitions:
        if found.phase is phase:
            declared = "" if found.declared_at is None else f", declared {found.declared_at}"
            return f"{found.iteration} ({found.interval[0]} to {found.interval[1]}), {found.confidence:.2f}{declared}"
    return "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--problems", default=PROBLEMS)
    parser.add_argument("--weightings", default=WEIGHTINGS)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--iterations")
    parser.add_argument("--every")
    chosen = parser.parse_args()
    options = [f"--{name}={value}" for name in ("iterations", "every") if (value := getattr(chosen, name)) is not None]
    chosen.output.mkdir(parents=True, exist_ok=True)
    print("| run | captures | diffusion from | total diffusion from | online: diffusion | online: total diffusion |")
    print("|---|---|---|---|---|---|")
    for problem in chosen.problems.split(","):
        for weighting in chosen.weightings.split(","):
            for seed in chosen.seeds.split(","):
                name = f"{problem}-{weighting}-{seed}".replace(":", "_").replace("=", "")
                folder = chosen.output / name
                if not folder.exists():
                    train(problem, weighting, seed, folder, options)
                curve = read_curve(folder)
                offline, online = detect(curve), replay(curve)
                draw_timeline(curve, offline, chosen.output / f"{name}.png")
                cells = [cell(timeline, phase) for timeline in (offline, online) for phase in list(Phase)[1:]]
                print(f"| {name} | {curve.captures} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
