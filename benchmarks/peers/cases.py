"""What is measured: problem, points, network; the file that gives all contenders the same parameters and points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import phasecore
from phasecore.problems import CollocationPoints, Condition, Prescribed, Preset, Problem

PROBLEMS = ("allen_cahn", "burgers", "helmholtz", "lid_driven_cavity")
MAIN = (10_000, 6, 128)
"""Points, depth and width that the comparison is about first of all."""


@dataclass(frozen=True)
class Case:
    """One training: problem, number of collocation points, hidden layers of a width, and where it is computed."""

    problem: str
    points: int
    depth: int
    width: int
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.problem} {self.points} {self.depth}x{self.width} {self.device}"

    @classmethod
    def parse(cls, name: str) -> Case:
        """Return the case that `str` named."""
        problem, points, network, device = name.split()
        depth, width = network.split("x")
        return cls(problem, int(points), int(depth), int(width), device)


@dataclass(frozen=True)
class _Order(Problem):
    """The derivative of one order of a function on [0, 1] is zero, and so is the function at zero."""

    coordinates: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar[tuple[str, ...]] = ("u",)
    grid: ClassVar[tuple[int, ...]] = (11,)
    reference_accuracy: ClassVar[str] = "exact"
    presets: ClassVar[Mapping[str, Preset]] = {"quick": Preset(points=100, width=16, depth=2, iterations=100)}

    @property
    def domain(self) -> Mapping[str, tuple[float, float]]:
        return {"x": (0.0, 1.0)}

    @property
    def conditions(self) -> list[Condition]:
        return [Prescribed("boundary", ("x", 0.0), {"u": 0.0})]

    def residuals(self, coordinates: Any, partials: Mapping[str, Any], xp: Any) -> dict[str, Any]:
        (name,) = self.equations["pde"]
        return {"pde": partials[name]}

    def reference(self, points: Any) -> dict[str, NDArray[np.float64]]:
        return {"u": np.zeros(len(points))}


def problem_of(name: str) -> Problem:
    """Return a problem of phasecore's, or "order_N": the derivative of order N alone, in one dimension."""
    if not name.startswith("order_"):
        return phasecore.problem(name)
    order = int(name.removeprefix("order_"))
    made = type(name, (_Order,), {"name": name, "equations": {"pde": ("u_" + "x" * order,)}})
    return made()  # type: ignore[no-any-return]


def write_arrays(case: Case, file: Path) -> None:
    """Write the case's initial parameters (Xavier normal, zero biases) and its points."""
    problem = problem_of(case.problem)
    points = problem.sample(case.points, seed=0)
    generator = np.random.default_rng(0)
    sizes = [len(problem.coordinates), *[case.width] * case.depth, len(problem.outputs)]
    arrays: dict[str, Any] = {
        "interior": points.interior,
        "terms": np.asarray([condition.term for condition in problem.conditions]),
    }
    for k, own in enumerate(points.conditions):
        arrays[f"condition_{k}"] = own
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        scale = np.sqrt(2 / (inputs + outputs))
        arrays[f"W{k}"] = (scale * generator.standard_normal((inputs, outputs))).astype(np.float32)
        arrays[f"b{k}"] = np.zeros(outputs, dtype=np.float32)
    np.savez(file, **arrays)


def collocation_points(arrays: Mapping[str, Any]) -> CollocationPoints:
    """Return the points of a file as phasecore takes them."""
    return CollocationPoints(arrays["interior"], tuple(arrays[f"condition_{k}"] for k in range(len(arrays["terms"]))))
