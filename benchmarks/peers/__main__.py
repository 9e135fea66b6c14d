"""phasecore beside its peers: time and memory of a training step, every contender in its own process, in turn.

    python -m benchmarks.peers            all cases, most of an hour on two idle cores; rewrites docs/benchmarks.md
    python -m benchmarks.peers --quick    a few small cases, minutes; the report goes to standard output
    python -m benchmarks.peers --report   the report again, from what was measured

All have the same network, points, float32 and Adam, and are checked to compute the same loss of each term from the same
parameters, and again after two steps. Results are kept as they come; the same command goes on where it was interrupted.
On a machine with an accelerator the cases are measured there too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.cases import MAIN, PROBLEMS, Case
from benchmarks.peers.contenders import ENTRIES, OURS, ROOT
from benchmarks.peers.measure import memory_of, time_case
from benchmarks.peers.process import Pool, Process
from benchmarks.peers.report import write_report
from benchmarks.peers.results import Results, machine

ALL = tuple(ENTRIES)
WITHOUT_SLOWEST = tuple(name for name in ALL if name != "nested_snr")
TWO = (OURS, "nested")
FOUR = (OURS, "phasecore_again", "phasecore", "nested")
SOURCES = (
    *(f"{folder}/*.py" for folder in ("phasecore_torch", "phasecore_keras", "phasecore/jets", "phasecore/weighting")),
    *("phasecore/partials.py", "phasecore/problems/*.py"),
    *(f"benchmarks/peers/{name}.py" for name in ("with_*", "nested", "equations")),
)
"""What a change of makes results those of another program."""


class Task(NamedTuple):
    """What is measured of which contenders: "times" or "memory"."""

    kind: str
    case: Case
    names: Sequence[str]


def full_plan(device: str) -> list[Task]:
    """Return all problems in all sizes, growth with points, width and order of derivative; the most wanted first."""
    others = [(2_500, 4, 64), (25_600, 6, 128), (10_000, 4, 64), (2_500, 6, 128), (25_600, 4, 64)]
    points = [Case("burgers", count, 6, 128, device) for count in (2_500, 5_000, 10_000, 25_600, 50_000, 100_000)]
    widths = [Case("burgers", 10_000, 6, width, device) for width in (32, 64, 128, 256)]
    orders = [Case(f"order_{order}", 10_000, 6, 128, device) for order in (1, 2, 3, 4)]
    growth = list(dict.fromkeys([*points, *widths, *orders]))
    held = [Case(problem, count, 6, 128, device) for count in (10_000, 25_600) for problem in PROBLEMS]
    return [
        *(Task("times", Case(problem, *MAIN, device), ALL) for problem in PROBLEMS),
        *(Task("memory", case, FOUR) for case in held),
        *(Task("times", case, TWO) for case in growth),
        *(Task("memory", case, TWO) for case in growth),
        *(Task("times", Case(problem, *size, device), WITHOUT_SLOWEST) for size in others for problem in PROBLEMS),
    ]


def quick_plan(device: str) -> list[Task]:
    """Return a few small cases."""
    compared = [Case(problem, 2_500, 4, 64, device) for problem in PROBLEMS]
    points = [Case("burgers", count, 4, 64, device) for count in (2_500, 5_000, 10_000)]
    growth = [*points, *(Case(f"order_{order}", 2_500, 4, 64, device) for order in (1, 2, 3))]
    return [
        *(Task("times", case, ALL) for case in compared),
        *(Task("times", case, TWO) for case in growth),
        Task("memory", compared[0], FOUR),
        *(Task("memory", case, TWO) for case in growth),
    ]


def setting_of(rounds: int, logs: Path) -> dict[str, object]:
    """Return what results depend on, and so what they may not be mixed over."""
    versions: dict[str, str] = {}
    for name in ("nested", "deepxde_tensorflow", "keras_jax", "pina"):
        worker = Process(name, "cpu", logs)
        versions |= worker.ask("hello", framework=ENTRIES[name].framework)["versions"]
        worker.close()
    worker = Process("nested", "cuda", logs)
    accelerator = worker.ask("hello", framework="torch")["accelerator"]
    worker.close()
    files = sorted(file for pattern in SOURCES for file in ROOT.glob(pattern))
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return machine() | {
        "accelerator": accelerator,
        "versions": dict(sorted(versions.items())),
        "sources": sources,
        "rounds": rounds,
    }


def measure(plan: Sequence[Task], results: Results, rounds: int, folder: Path) -> None:
    """Measure what the results lack: times by workers that are kept, memory in a fresh process each."""
    pool = Pool(folder)
    for kind, case, names in plan:
        known = results.data[kind].get(str(case), {})
        lacking = [name for name in names if name not in known]
        if not lacking:
            continue
        print(f"{kind} of {case}, load {os.getloadavg()[0]:.1f}", flush=True)
        if kind == "times":
            results.keep(kind, str(case), time_case(case, names, rounds, pool, folder))
        for name in lacking if kind == "memory" else ():
            results.keep(kind, str(case), {name: memory_of(case, name, folder)})
    pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few small cases, results in .venv-bench/quick.json")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default 5)")
    parser.add_argument("--cores", type=int, default=2, help="processors that the workers may use (default 2)")
    options = parser.parse_args()
    file = ROOT / (".venv-bench/quick.json" if options.quick else "benchmarks/results/peers.json")
    if not options.report:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            setting = setting_of(options.rounds, Path(name))
            results = Results(file, setting, fresh=options.fresh)
            for device in ("cpu", "cuda") if setting["accelerator"] else ("cpu",):
                plan = quick_plan(device) if options.quick else full_plan(device)
                measure(plan, results, options.rounds, Path(name))
    write_report(file, docs=not options.quick)


if __name__ == "__main__":
    main()
