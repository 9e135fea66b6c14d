"""Each law of problems against a problem that breaks it: the heat equation on a rod, spoiled one part at a time."""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import phasecore
from phasecore.problems import Condition, Periodic, Prescribed, Preset, Problem
from phasecore.testing import PROBLEM_LAWS, ProblemSubject, check_problem
from phasecore.testing.laws import run_laws
from phasecore.testing.problem_reference import reference_satisfies_the_conditions, reference_solves_the_equations

COUNTER = itertools.count()


@dataclass(frozen=True)
class Heat(Problem):
    """`u_t = a u_xx`, u = exp(-a k^2 t) cos(k x) with k = 2 pi: Neumann at the left, Dirichlet at t = 0, periodic."""

    diffusivity: float = 0.05

    name: ClassVar = "heat"
    coordinates: ClassVar = ("x", "t")
    outputs: ClassVar = ("u",)
    equations: ClassVar = {"heat": ("u_t", "u_xx")}
    grid: ClassVar = (21, 11)
    reference_accuracy: ClassVar = "exact"
    presets: ClassVar = {"quick": Preset(points=100, width=8, depth=2, iterations=10)}

    @property
    def domain(self):
        return {"x": (0.0, 2.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [
            Prescribed("initial", ("t", 0.0), {"u": lambda at: np.cos(2 * math.pi * at["x"])}),
            Prescribed("wall", ("x", 0.0), {"u_x": 0.0}),
            Periodic("wall", "x", ("u", "u_x")),
        ]

    def residuals(self, coordinates, partials, xp):
        return {"heat": partials["u_t"] - self.diffusivity * partials["u_xx"]}

    def reference(self, points):
        x, t = self.check_points(points).T
        k = 2 * math.pi
        return {"u": np.exp(-self.diffusivity * k**2 * t) * np.cos(k * x)}


@dataclass(frozen=True)
class Unportable(Condition):
    term: str = "wall"
    partials: tuple = ("u",)

    def sample(self, count, coordinates, bounds, generator):
        return generator.uniform(*bounds, (count, len(coordinates)))

    def residuals(self, partials, targets, xp):
        return xp.cumulative_sum(partials["u"])


def spoiled(**members):
    """An instance of a class that is Heat but for the given members."""
    return dataclass(frozen=True)(type("Heat", (Heat,), members))()


def sample_outside(self, points, *, seed=0, condition_points=None):
    drawn = Heat.sample(self, points, seed=seed, condition_points=condition_points)
    return dataclasses.replace(drawn, interior=drawn.interior + 1.0)


def sample_anyhow(self, points, *, seed=0, condition_points=None):
    return Heat.sample(self, points, seed=seed + next(COUNTER), condition_points=condition_points)


def sample_anything(self, points, *, seed=0, condition_points=None):
    return Heat.sample(self, max(1, int(points)), seed=seed)


def reference_unchecked(self, points):
    x, t = np.asarray(points).T
    return {"u": np.exp(-self.diffusivity * 4 * math.pi**2 * t) * np.cos(2 * math.pi * x)}


def reference_of_the_mean(self, points):
    return {"u": Heat.reference(self, points)["u"] * (1 + 1e-3 * np.mean(np.asarray(points)[:, 0]))}


def residual(function):
    return lambda self, coordinates, partials, xp: {"heat": function(self, coordinates, partials, xp)}


BROKEN = {
    "declares_itself": spoiled(grid=(21,)),
    "its_partials_can_be_read": spoiled(equations={"heat": ("u_t", "u_zz")}),
    "its_residuals_are_of_one_point_each": spoiled(
        residuals=residual(lambda self, at, p, xp: p["u_t"] - 0.05 * xp.mean(p["u_xx"]))
    ),
    "equals_one_with_its_parameters": spoiled(__eq__=lambda self, other: self is other, __hash__=lambda self: 0),
    "its_presets_can_be_made": spoiled(presets={"paper": Preset(points=10, width=8, depth=2, iterations=10)}),
    "sampling_is_seeded": spoiled(sample=sample_anyhow),
    "samples_are_in_the_domain": spoiled(sample=sample_outside),
    "its_grid_covers_the_domain": spoiled(evaluation_points=lambda self: Heat.evaluation_points(self)[:-20]),
    "refuses_bad_counts": spoiled(sample=sample_anything),
    "refuses_bad_points": spoiled(reference=reference_unchecked),
    "residuals_read_what_is_declared": spoiled(equations={"heat": ("u_t", "u_xx", "u_x")}),
    "each_equation_depends_on_its_partials_only": spoiled(
        equations={"heat": ("u_t",), "flux": ("u_xx",)},
        residuals=lambda self, coordinates, partials, xp: {
            "heat": partials["u_t"] - 0.05 * partials["u_xx"],
            "flux": partials["u_xx"],
        },
    ),
    "residuals_are_finite": spoiled(residuals=residual(lambda self, at, p, xp: xp.mean(p["u_t"] - p["u_xx"]))),
    "residuals_agree_across_libraries": spoiled(
        residuals=residual(lambda self, at, p, xp: p["u_t"] - 0.05 * xp.cumulative_sum(p["u_xx"]))
    ),
    "residuals_keep_the_dtype": spoiled(
        residuals=residual(lambda self, at, p, xp: p["u_t"] - np.float64(0.05) * p["u_xx"])
    ),
    "fields_read_what_is_declared": spoiled(fields=lambda self, coordinates, partials, xp: {"v": partials["u"]}),
    "conditions_read_what_they_declare": spoiled(
        conditions=property(lambda self: [Prescribed("wall", ("x", 0.0), {"u": math.nan})])
    ),
    "conditions_agree_across_libraries": spoiled(conditions=property(lambda self: [Unportable()])),
    "reference_is_finite": spoiled(
        reference=lambda self, points: {"u": Heat.reference(self, points)["u"].astype(np.float32)}
    ),
    "reference_is_a_function_of_the_point": spoiled(reference=reference_of_the_mean),
    "reference_solves_the_equations": spoiled(
        residuals=residual(lambda self, at, p, xp: p["u_t"] - 0.05001 * p["u_xx"])
    ),
    "reference_satisfies_the_conditions": spoiled(
        conditions=property(lambda self: [Prescribed("wall", ("x", 0.0), {"u_x": 1e-3})])
    ),
}


def test_the_problem_that_the_broken_ones_start_from_is_sound():
    assert len(check_problem(Heat()).passed) == len(PROBLEM_LAWS)


@pytest.mark.parametrize("law", PROBLEM_LAWS, ids=lambda law: law.__name__)
def test_each_law_can_fail_and_says_so(law):
    with pytest.raises(AssertionError, match=rf"  - (\w+, )*{law.__name__}(, \w+)*: (?!it raised).{{20}}"):
        run_laws("problem", [law], ProblemSubject(BROKEN[law.__name__]))


def test_a_reading_of_a_partial_that_is_not_declared_names_it():
    greedy = spoiled(residuals=residual(lambda self, at, p, xp: p["u_t"] - 0.05 * p["u_xx"] + p["u_x"]))
    with pytest.raises(AssertionError, match=r"reads the partial 'u_x', which is not declared"):
        check_problem(greedy)


def test_a_coarse_reference_passes_once_its_accuracy_is_stated():
    coarse = spoiled(reference=lambda self, points: {"u": Heat.reference(self, points)["u"] + 1e-4})
    with pytest.raises(AssertionError, match=r"reference_satisfies_the_conditions.*accuracy"):
        check_problem(coarse)
    check_problem(coarse, accuracy=1e-3)


def test_a_reference_too_rough_to_differentiate_is_told_so():
    def rough(self, points):
        values = Heat.reference(self, points)["u"]
        return {"u": values + 0.1 * np.sin(1e7 * values)}

    with pytest.raises(AssertionError, match=r"too rough"):
        reference_solves_the_equations(ProblemSubject(spoiled(reference=rough)))


class ScaledPartial(dict):
    """Partials of which one comes out 5% too large."""

    def __init__(self, partials, scaled):
        super().__init__(partials)
        self.scaled = scaled

    def __getitem__(self, name):
        return super().__getitem__(name) * (1.05 if name == self.scaled else 1.0)


@pytest.mark.parametrize("name", phasecore.names("problem"))
def test_an_error_of_five_percent_in_any_coefficient_is_noticed(name):
    """The law of the reference solution is sharp enough to catch a wrong coefficient in any registered problem."""
    problem = phasecore.problem(name)
    try:
        reference_solves_the_equations(ProblemSubject(problem))
    except phasecore.PhasecoreError as reason:
        pytest.skip(str(reason))
    for scaled in problem.all_partials():

        def residuals(self, coordinates, partials, xp, scaled=scaled):
            return type(problem).residuals(self, coordinates, ScaledPartial(partials, scaled), xp)

        members = {"residuals": residuals, "equations": problem.equations, "__module__": __name__}
        mutant = dataclass(frozen=True)(type("Mutant", (type(problem),), members))(**problem.parameters)
        with pytest.raises(AssertionError, match=r"leaves a residual"):
            reference_solves_the_equations(ProblemSubject(mutant))


def test_conditions_on_derivatives_are_checked_at_the_boundary():
    reference_satisfies_the_conditions(ProblemSubject(Heat()))
    shifted = spoiled(
        reference=lambda self, points: {
            "u": Heat.reference(self, points)["u"] + 1e-3 * np.sin(2 * math.pi * np.asarray(points)[:, 0])
        },
        conditions=property(lambda self: Heat().conditions[1:2]),
    )
    with pytest.raises(AssertionError, match=r"'u_x'"):
        reference_satisfies_the_conditions(ProblemSubject(shifted))
