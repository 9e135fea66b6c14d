"""One case at a time: equal losses checked, then steps timed in turn; and the peak memory of a fresh process."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import Case, write_arrays
from benchmarks.peers.contenders import ENTRIES
from benchmarks.peers.process import RETURNED_AT_ONCE, Pool, Process, WorkerError

WARM_UP, SECONDS_OF_A_TURN, MOST_STEPS = 2, 0.5, 200
SAME, STILL_SAME = 1e-3, 5e-2
"""Largest relative difference of a term's loss at the initial parameters, and after `WARM_UP` steps of Adam."""


class UnequalLossesError(RuntimeError):
    """Contenders that do not compute the same."""


def time_case(case: Case, names: Sequence[str], rounds: int, pool: Pool, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was measured of each contender: "losses", "seconds" of a step in each round, "steps" of a turn.

    A contender that cannot be set up or trained has "failed" with the reason. Under the first contender, which is on
    torch, there is also "peak", the operations per second of a matrix product in each round, and "idle_cpu".

    Raises:
        UnequalLossesError: if two contenders compute different losses; none of them is timed then.
    """
    file = folder / "case.npz"
    write_arrays(case, file)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = _guarded(lambda name=name: _prepare(pool.get(name, case.device), case, file))
    check(found, "losses", SAME)
    for attention in (True, False):
        group = {name: values for name, values in found.items() if ENTRIES[name].attention is attention}
        check(group, "losses_after", STILL_SAME)
    found[names[0]]["idle_cpu"] = _idle_cpu(pool)
    for number in range(rounds):
        order = [*names[number % len(names) :], *names[: number % len(names)]]
        for name in (name for name in order if "failed" not in found[name]):
            found[name] |= _guarded(lambda name=name: _take_turn(pool.get(name, case.device), found[name]))
        if "failed" not in found[names[0]]:
            found[names[0]].setdefault("peak", []).append(pool.get(names[0], case.device).ask("peak"))
    return found


def _prepare(process: Process, case: Case, file: Path) -> dict[str, Any]:
    began = time.perf_counter()
    entry = ENTRIES[process.name]
    if case.device != "cpu" and not process.ask("hello", framework=entry.framework)["accelerator"]:
        raise WorkerError(f"{entry.framework} sees no accelerator")
    process.ask("set_up", problem=case.problem, file=str(file))
    losses = process.ask("losses")
    process.ask("train", steps=WARM_UP)
    losses_after = process.ask("losses")
    set_up = time.perf_counter() - began
    seconds = process.ask("train", steps=1 + entry.epochs)
    process.ask("rest")
    steps = min(max(math.ceil(SECONDS_OF_A_TURN / seconds), 1), MOST_STEPS) + entry.epochs
    return {"losses": losses, "losses_after": losses_after, "set_up": set_up, "steps": steps, "seconds": []}


def _take_turn(process: Process, values: Mapping[str, Any]) -> dict[str, Any]:
    """Time a turn, after a step that fetches the memory which the worker gave back after its last one."""
    if not ENTRIES[process.name].epochs:
        process.ask("train", steps=1)
    seconds = process.ask("train", steps=values["steps"])
    process.ask("rest")
    return {"seconds": [*values["seconds"], seconds]}


def _guarded(work: Any) -> dict[str, Any]:
    try:
        return work()  # type: ignore[no-any-return]
    except WorkerError as error:
        return {"failed": str(error)}


def check(found: Mapping[str, Mapping[str, Any]], key: str, tolerance: float) -> None:
    """Check that the contenders' losses agree, term by term, with those of the first that has any."""
    entrants = {name: values[key] for name, values in found.items() if key in values}
    if not entrants:
        return
    first, *others = entrants
    for name in others:
        expected, given = entrants[first], entrants[name]
        same = expected.keys() == given.keys() and all(
            abs(given[term] - loss) <= tolerance * abs(loss) for term, loss in expected.items()
        )
        if not same:
            raise UnequalLossesError(f"{key} of {name}: {given}, but of {first}: {expected}")


def _idle_cpu(pool: Pool, seconds: float = 1.0) -> float:
    """Return how many processors all workers together keep busy while none is asked."""
    before = sum(process.cpu_seconds() for process in pool.living())
    time.sleep(seconds)
    return (sum(process.cpu_seconds() for process in pool.living()) - before) / seconds


def memory_of(case: Case, name: str, folder: Path) -> dict[str, Any]:
    """Return the "bytes" by which a fresh process' memory grows within a step, or why it "failed"."""
    file = folder / "case.npz"
    write_arrays(case, file)
    process = Process(name, case.device, folder, RETURNED_AT_ONCE)

    def work() -> dict[str, Any]:
        process.ask("set_up", problem=case.problem, file=str(file))
        return {"bytes": process.ask("memory", steps=WARM_UP)}

    try:
        return _guarded(work)
    finally:
        process.close()
