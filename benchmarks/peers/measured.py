"""What the results say: medians, ratios, and which cases there are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.peers.cases import MAIN, PROBLEMS, Case


class Measured:
    """Reads the results of `results.Results`."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.setting = data["setting"]
        self._times = data["times"]
        self._memory = data["memory"]
        self.cases = [Case.parse(name) for name in dict.fromkeys([*self._times, *self._memory])]

    def rounds(self, case: Case, name: str) -> list[float]:
        """Return the seconds of a step in each round; none if it was not timed."""
        return self._times.get(str(case), {}).get(name, {}).get("seconds", [])  # type: ignore[no-any-return]

    def seconds(self, case: Case, name: str) -> float | None:
        """Return the median seconds of a step."""
        rounds = self.rounds(case, name)
        return statistics.median(rounds) if rounds else None

    def ratio(self, case: Case, name: str, other: str) -> float | None:
        """Return the median over the rounds of the time relative to another's."""
        pairs = list(zip(self.rounds(case, name), self.rounds(case, other), strict=False))
        return statistics.median(a / b for a, b in pairs) if pairs else None

    def peak(self, case: Case) -> float | None:
        """Return the fastest matrix product in a case's rounds, operations per second."""
        found = [max(values["peak"]) for values in self._times.get(str(case), {}).values() if "peak" in values]
        return found[0] if found else None

    def memory(self, case: Case, name: str) -> float | None:
        """Return the bytes that a step needs at most."""
        return self._memory.get(str(case), {}).get(name, {}).get("bytes")  # type: ignore[no-any-return]

    def idle_cpu(self) -> float:
        """Return the most that waiting workers kept busy of one processor."""
        found = [values.get("idle_cpu", 0.0) for case in self._times.values() for values in case.values()]
        return max(found, default=0.0)

    def failures(self) -> list[tuple[str, str]]:
        """Return case and contender, and the last line of the reason, of each that failed."""
        return [
            (f"{case}, {name}", values["failed"].strip().splitlines()[-1])
            for kind in (self._times, self._memory)
            for case, contenders in kind.items()
            for name, values in contenders.items()
            if "failed" in values
        ]

    def devices(self) -> list[str]:
        """Return where anything was measured."""
        return list(dict.fromkeys(case.device for case in self.cases))

    def compared(self, device: str) -> dict[str, list[Case]]:
        """Return the cases that the libraries were timed on, by points and network, in the order of the problems."""
        cases = [c for c in self.cases if c.device == device and "pina" in self._times.get(str(c), {})]
        sizes = sorted({(c.points, c.depth, c.width) for c in cases}, key=lambda size: (size != MAIN, size))
        return {
            f"{points} points, {depth} x {width}": [
                case for problem in PROBLEMS if (case := Case(problem, points, depth, width, device)) in cases
            ]
            for points, depth, width in sizes
        }

    def grown(self, device: str) -> list[Case]:
        """Return the cases of growth with points, width and order, each series by size."""
        burgers = [case for case in self.cases if case.device == device and case.problem == "burgers"]
        orders = [case for case in self.cases if case.device == device and case.problem.startswith("order")]
        deepest = max((case.depth for case in burgers), default=0)
        burgers = [case for case in burgers if case.depth == deepest]
        return [
            *sorted(burgers, key=lambda case: (case.width, case.points)),
            *sorted(orders, key=lambda case: case.problem),
        ]

    def remembered(self, device: str) -> list[Case]:
        """Return the cases of which eager blocks were measured too."""
        found = [case for case in self.cases if case.device == device and self.memory(case, "phasecore") is not None]
        return sorted(found, key=lambda case: (case.points, PROBLEMS.index(case.problem)))
