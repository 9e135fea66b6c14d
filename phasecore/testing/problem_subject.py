"""A problem under test, and the values that the laws evaluate it on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from phasecore.errors import InputError
from phasecore.partials import parse_partial
from phasecore.problems.base import CollocationPoints, Floats, Problem
from phasecore.problems.checks import residuals_of
from phasecore.testing.differences import differentiate
from phasecore.testing.laws import NotApplicableError
from phasecore.testing.libraries import ArrayLibrary, libraries, library
from phasecore.testing.trees import RecordingMapping, map_leaves

NUMPY = library("numpy")

UNKNOWN = 1e9
"""Error of a derivative that cannot be taken, since its points would be outside the domain."""


@final
@dataclass(frozen=True)
class ProblemSubject:
    """A problem under test.

    Attributes:
        problem: what is checked.
        libraries: the array libraries that its equations must run on.
        accuracy: error that the reference solution may have, as a share of its size.
        points: number of collocation points, and of points of each condition, of the laws.
    """

    problem: Problem
    libraries: tuple[ArrayLibrary, ...] = field(default_factory=libraries)
    accuracy: float = 1e-6
    points: int = 48

    @property
    def evaluated(self) -> Problem:
        """The problem with numbers for its trained coefficients: the true ones, or where they are not known the first.

        Its equations and conditions can be evaluated.
        """
        values: dict[str, float] = {}
        for name, coefficient in self.problem.trained_coefficients.items():
            try:
                values[name] = float(self.problem.true_parameter(name))
            except InputError:
                values[name] = float(coefficient.initial)
        return self.problem.with_coefficients(values) if values else self.problem

    def sample(self, seed: int = 0) -> CollocationPoints:
        """Return collocation points of the laws."""
        return self.problem.sample(self.points, seed=seed, condition_points=self.points)

    def columns(self, points: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the values of each coordinate by name."""
        return {name: points[:, axis] for axis, name in enumerate(self.problem.coordinates)}

    def residuals(
        self,
        points: NDArray[Any],
        partials: Mapping[str, NDArray[Any]],
        array_library: ArrayLibrary = NUMPY,
        read: set[str] | None = None,
    ) -> dict[str, Any]:
        """Return the equations' residuals as numpy arrays; `read` collects the partials that were read."""
        recording = RecordingMapping(
            map_leaves(array_library.from_numpy, dict(partials)), set() if read is None else read
        )
        coordinates = map_leaves(array_library.from_numpy, self.columns(points))
        found = residuals_of(self.evaluated, coordinates, recording, array_library.namespace)
        return {name: array_library.to_numpy(values) for name, values in found.items()}

    def reference_partial(self, name: str, points: Floats) -> tuple[Floats, Floats]:
        """Return a partial of the reference solution by finite differences, and its estimated error, shape (m,) each.

        Raises:
            NotApplicableError: if the reference does not give the differentiated output.
        """
        problem = self.evaluated
        partial = parse_partial(name, problem.outputs, problem.coordinates, problem.parameters)
        if partial.output not in problem.reference(points[:1]) or problem.fields_read != problem.outputs:
            raise NotApplicableError(f"the reference gives no output {partial.output!r}, so {name!r} is not known")
        region = problem.region

        def output(nodes: Floats) -> Floats:
            inside = region.contains(nodes)
            found = np.full(len(nodes), np.nan)
            found[inside] = problem.reference(nodes[inside])[partial.output]
            return found

        values, errors = np.zeros(len(points)), np.zeros(len(points))
        for names, operator in partial.summands:
            scale = math.prod(float(problem.parameters[name]) for name in names)
            for exponents, factor in operator:
                value, error = differentiate(output, points, exponents, problem.bounds)
                values += scale * factor * value
                errors += abs(scale * factor) * error
        unknown = ~np.isfinite(values) | ~np.isfinite(errors)
        if unknown.mean() > 0.5:
            raise NotApplicableError(f"{name!r} of the reference is not known at points so near to the boundary")
        return np.where(unknown, 0.0, values), np.where(unknown, UNKNOWN, errors)


def random_partials(names: Iterable[str], count: int, seed: int = 0) -> dict[str, Floats]:
    """Return a random value of each partial at each of `count` points."""
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal(count) for name in names}
