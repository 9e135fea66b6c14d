"""What the laws of `test_registered` do not see: refused parameters, unknown coefficients, the L-shape's reference."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

import phasecore
from phasecore import InputError, trained
from phasecore.problems.checks import targets_of
from phasecore.problems.references import l_shape
from phasecore.testing.libraries import libraries
from phasecore.testing.problem_equations import conditions_read_what_they_declare, residuals_read_what_is_declared
from phasecore.testing.problem_reference import reference_satisfies_the_conditions, reference_solves_the_equations
from phasecore.testing.problem_subject import ProblemSubject

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("convection", {"beta": 0}),
        ("convection", {"beta": math.nan}),
        ("convection", {"beta": True}),
        ("wave", {"speed": -1.0}),
        ("wave", {"waves": 1.5}),
        ("wave", {"waves": 0}),
        ("wave", {"waves": trained(2.0)}),
        ("kdv", {"steepening": 0.0}),
        ("kdv", {"dispersion": math.inf}),
        ("kdv", {"speed": trained(0.5)}),
        ("kdv", {"start": math.nan}),
        ("diffusion_reaction", {"diffusion": 0}),
        ("poisson_l_shape", {"source": 0}),
        ("poisson_l_shape", {"source": trained(1.0)}),
        ("lorenz", {"sigma": -10}),
        ("lorenz", {"end": 0}),
        ("lorenz", {"end": 21}),
        ("lorenz", {"end": trained(3.0)}),
        ("burgers_inverse", {"advection": trained(1.0, true=2.0)}),
        ("burgers_inverse", {"advection": math.nan}),
        ("burgers_inverse", {"viscosity": 0.0}),
        ("burgers_inverse", {"data_points": 0}),
        ("lid_driven_cavity", {"lid": "round"}),
        ("lid_driven_cavity", {"lid": True}),
        ("lid_driven_cavity", {"lid": 1.0}),
        ("lid_driven_cavity", {"lid": ""}),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters):
    option = next(iter(parameters))
    with pytest.raises(InputError, match=rf"problem '{name}', parameter '{option}': received .*expected"):
        phasecore.problem(name, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "count"),
    [
        ("convection", {"beta": trained(1.0, true=2.0)}, 500),
        ("wave", {"speed": trained(1.0)}, 500),
        ("kdv", {"steepening": trained(2.0), "dispersion": trained(0.01, true=0.02)}, 500),
        ("diffusion_reaction", {"diffusion": trained(0.1)}, 500),
        ("lorenz", {"rho": trained(1.0), "beta": trained(1.0), "end": 1.0}, 500),
        ("burgers_inverse", {"viscosity": trained(0.2), "data_points": 20}, 20),
    ],
)
def test_the_data_of_unknown_coefficients_are_those_of_the_true_ones(name, parameters, count):
    problem = phasecore.problem(name, **parameters)
    assert set(problem.trained_coefficients) >= {key for key, value in parameters.items() if not np.isscalar(value)}
    data = problem.conditions[-1]
    assert (data.term, data.points.shape) == ("data", (count, len(problem.coordinates)))
    for output, values in problem.reference(data.points).items():
        np.testing.assert_array_equal(data.values[output], values)
    subject = ProblemSubject(problem, libraries(["numpy"]))
    for law in (
        residuals_read_what_is_declared,
        conditions_read_what_they_declare,
        reference_solves_the_equations,
        reference_satisfies_the_conditions,
    ):
        law(subject)


def test_the_true_value_of_a_default_that_is_trained_holds_where_another_is_given():
    problem = phasecore.problem("burgers_inverse", viscosity=trained(0.2))
    assert problem.true_parameter("viscosity") == 0.01 / math.pi
    assert phasecore.problem("burgers_inverse", viscosity=0.1).true_parameter("viscosity") == 0.1


def test_on_the_edges_of_the_l_shape_the_reference_is_zero_and_so_nowhere_wrong():
    share = np.random.default_rng(0).uniform(size=300)[:, None]
    share = np.concatenate([share, 1e-4 * share, 1 - 1e-4 * share])
    corners = np.asarray([*l_shape.VERTICES, l_shape.VERTICES[0]])
    for first, last in itertools.pairwise(corners):
        x, y = (first + share * (last - first)).T
        assert np.abs(l_shape.solution(x, y)).max() < 1e-12


def test_finite_differences_approach_the_l_shape_at_the_order_of_its_corner():
    coarse, fine = (np.abs(values - l_shape.solution(x, y)) for x, y, values in map(finite_differences, (32, 64)))
    assert fine.max() < 5e-3
    assert abs(math.log2(coarse.max() / fine.max()) - 2 / 3) < 0.1
    assert abs(math.log2(coarse.mean() / fine.mean()) - 4 / 3) < 0.2


def finite_differences(cells):
    from scipy.sparse import diags_array, eye_array, kron
    from scipy.sparse.linalg import spsolve

    axis = np.linspace(-1, 1, cells + 1)[1:-1]
    second = diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(len(axis), len(axis))) * (cells / 2) ** 2
    laplacian = kron(second, eye_array(len(axis))) + kron(eye_array(len(axis)), second)
    x, y = (values.ravel() for values in np.meshgrid(axis, axis, indexing="ij"))
    inside = np.flatnonzero((x < 0) | (y < 0))
    return x[inside], y[inside], spsolve(laplacian.tocsc()[inside][:, inside], -np.ones(len(inside)))


def test_the_soliton_moves_without_changing():
    problem = phasecore.problem("kdv")
    x = np.linspace(-0.9, 0.3, 50)
    before, after = (problem.reference(np.stack([x + 0.5 * t, np.full_like(x, t)], 1))["u"] for t in (0.0, 1.0))
    np.testing.assert_allclose(before, after, rtol=1e-12)


def test_the_page_of_problems_lists_what_is_built_in_with_all_parameters():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (`[^|]+) \|", (DOCS / "problems.md").read_text(), re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", parameters) for name, parameters in rows}
    own = [
        name for name in phasecore.names("problem") if type(phasecore.problem(name)).__module__.startswith("phasecore.")
    ]
    assert listed == {name: list(phasecore.problem(name).parameters) for name in sorted(own)}


@pytest.mark.parametrize("lid", [None, "regularized"])
def test_the_velocities_of_a_cavity_are_those_that_its_walls_prescribe(lid):
    problem = phasecore.problem("lid_driven_cavity", reynolds=20, lid=lid)
    sampled = problem.sample(100, seed=1)
    assert len(problem.conditions) == 4
    for condition, points in zip(problem.conditions, sampled.conditions, strict=True):
        velocities = problem.reference(points)
        targets = targets_of(condition, points, problem.coordinates, problem.normals)
        residuals = condition.residuals({"psi_y": velocities["u"], "psi_x": -velocities["v"]}, targets, np)
        np.testing.assert_allclose(residuals, 0, atol=1e-9)


@pytest.mark.parametrize("seed", [-1, 0.5, True, "1", math.nan])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match=r"seed of the points: received .*expected a whole number, 0 or more"):
        phasecore.problem("burgers").sample(10, seed=seed)


def test_the_error_beside_a_reference_of_zeros_is_not_defined():
    zeros = {"u": np.zeros(3)}
    assert math.isnan(phasecore.problems.relative_l2_error({"u": np.ones(3)}, zeros))
    assert math.isnan(phasecore.problems.relative_l2_error(zeros, zeros))
