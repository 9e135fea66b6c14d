"""DeepXDE's examples as problems here, and DeepXDE's own geometries as domains. On DeepXDE's backend pytorch."""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    # what DeepXDE imports is its own
    warnings.simplefilter("ignore")
    import deepxde as dde

import torch

import phasecore
import phasecore_torch
from benchmarks import deepxde_examples, deepxde_problems
from phasecore.errors import InputError
from phasecore.problems.domains.region import region_of
from phasecore.problems.references.l_shape import VERTICES
from phasecore.testing import check_problem

pytestmark = [
    # of numpy, for what DeepXDE does with polygons
    pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors are deprecated:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def single():
    """DeepXDE's own precision, whatever a test chose."""
    yield
    dde.config.set_default_float("float32")


@pytest.mark.parametrize("name", deepxde_examples.CASES)
def test_losses_and_gradients_are_those_of_deepxde(name):
    dde.config.set_default_float("float64")
    found = deepxde_examples.compared(deepxde_examples.CASES[name]())
    assert len(found["terms"]) >= 2
    for term, losses in found["terms"].items():
        assert losses["phasecore"] == pytest.approx(losses["deepxde"], rel=1e-10), term
        assert losses["difference"] < 1e-10
    assert found["gradient"] < 1e-10


def test_another_equation_is_told_by_the_comparison():
    dde.config.set_default_float("float64")
    case = deepxde_examples.diffusion_on_a_disk()
    other = type(case)(case.title, deepxde_problems.DiffusionOnADisk(cooling=2.001), case.data, case.layers)
    found = deepxde_examples.compared(other)
    assert found["terms"]["cooled"]["difference"] > 1e-5
    assert found["terms"]["pde"]["difference"] < 1e-10
    assert found["gradient"] > 1e-5


@pytest.mark.parametrize("name", ["HelmholtzWithAHole", "DiffusionOnADisk", "HeatWithASource"])
def test_the_problems_keep_the_contract(name):
    check_problem(getattr(deepxde_problems, name)())


# shape, a point inside and one outside
GEOMETRIES = {
    "interval": (lambda g: g.Interval(-1, 2), (0,), (2.5,)),
    "disk": (lambda g: g.Disk([0.2, 0.1], 0.7), (0.6, 0.1), (0.8, 0.5)),
    "rectangle": (lambda g: g.Rectangle([-1, 0], [1, 3]), (0.9, 2.9), (1.1, 2)),
    "triangle": (lambda g: g.Triangle([0, 0], [1, 0], [0, 1]), (0.4, 0.5), (0.6, 0.6)),
    "polygon": (lambda g: g.Polygon(VERTICES), (-0.5, 0.5), (0.5, 0.5)),
    "star": (lambda g: g.StarShaped([0, 0], 1, [0.1, 0.05], [0.02, 0.03]), (1.1, 0), (-1.1, 0)),
    "cuboid": (lambda g: g.Cuboid([0, 0, 0], [1, 2, 3]), (0.5, 1.9, 1), (0.5, 1, 3.1)),
    "sphere": (lambda g: g.Sphere([0, 0, 1], 1.5), (0, 0, 2.4), (1.2, 1.2, 1.2)),
    "hypersphere": (lambda g: g.Hypersphere([0.0] * 4, 1), (0, 0, 0, 0.9), (0.6, 0.6, 0.6, 0)),
    "difference": (lambda g: g.Rectangle([-1, -1], [1, 1]) - g.Disk([0, 0], 0.4), (0.5, 0), (0.3, 0)),
    "union": (lambda g: g.Rectangle([0, 0], [1, 1]) | g.Disk([1, 0.5], 0.4), (1.3, 0.5), (1.2, 0.9)),
    "intersection": (lambda g: g.Rectangle([0, 0], [2, 2]) & g.Disk([0, 0], 1.0), (0.6, 0.6), (0.9, 0.9)),
    "several": (
        lambda g: (g.Rectangle([-1, -1], [1, 1]) - g.Disk([0, 0], 0.4)) | g.Triangle([1, -1], [2, 0], [1, 1]),
        (1.4, 0),
        (0.3, 0),
    ),
}
LETTERS = ("x", "y", "z", "w")


def region(name):
    shape, inside, outside = GEOMETRIES[name]
    made = shape(dde.geometry)
    own = LETTERS[: len(inside)]
    return region_of("mine", {own if len(own) > 1 else own[0]: made, "t": (0, 2)}), made, inside, outside


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_geometry_of_deepxde_is_a_domain_as_it_is(name):
    found, made, inside, outside = region(name)
    assert found.contains(np.asarray([(*inside, 1.0), (*outside, 1.0)], dtype=float)).tolist() == [True, False]
    low, high = found.bounds
    drawn = np.random.default_rng(0).uniform(low, high, (2000, len(low)))
    # a polygon of DeepXDE's takes points for its boundary that are a thousandth away
    clear = ~np.broadcast_to(made.on_boundary(drawn[:, :-1]), len(drawn))
    np.testing.assert_array_equal(found.contains(drawn)[clear], made.inside(drawn[:, :-1])[clear])
    points = found.boundary(300, np.random.default_rng(1))
    normals = found.normals(points)
    assert found.contains(points).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-6)
    assert not normals[:, -1].any()
    step = 1e-2 * normals
    assert not found.contains(points + step).any()
    assert found.contains(points - step).mean() > 0.98


def test_a_geometry_with_time_is_a_domain_as_it_is():
    g = dde.geometry
    for space, coordinates, low in [
        (g.Disk([0.2, 0.1], 0.7), ("x", "y", "t"), [-0.5, -0.6, 0.5]),
        (g.Rectangle([-1, -1], [1, 1]) - g.Disk([0, 0], 0.4), ("x", "y", "t"), [-1, -1, 0.5]),
        (g.Sphere([0, 0, 1], 1.5), ("x", "y", "z", "t"), [-1.5, -1.5, -0.5, 0.5]),
        (g.Interval(-1, 2), ("x", "t"), [-1, 0.5]),
    ]:
        whole = g.GeometryXTime(space, g.TimeDomain(0.5, 2))
        found = region_of("mine", whole)
        assert found.coordinates == coordinates
        np.testing.assert_allclose(found.bounds[0], low, atol=1e-5)
        drawn = whole.random_points(100)
        assert found.contains(np.asarray(drawn, dtype=float)).all()
        assert not found.contains(np.asarray(drawn, dtype=float) + 2).any()
        points = found.boundary(100, np.random.default_rng(1))
        assert np.broadcast_to(whole.on_boundary(points), len(points)).mean() > 0.98
        np.testing.assert_allclose(found.normals(points), whole.boundary_normal(points), atol=1e-5)
    assert region_of("mine", g.TimeDomain(0, 3)).coordinates == ("t",)
    assert (
        region_of("mine", {("r", "s", "t"): g.GeometryXTime(g.Disk([0, 0], 1), g.TimeDomain(0, 1))}).bounds[1, 2] == 1
    )


class Cooling(phasecore.Problem):
    """Heat on a disk of DeepXDE's, from a known start."""

    domain = dde.geometry.GeometryXTime(dde.geometry.Disk([0, 0], 1), dde.geometry.TimeDomain(0, 2))
    outputs = ("u",)

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": 1}), phasecore.Prescribed("rim", "boundary", {"u": 0})]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"]


def test_a_problem_on_a_geometry_with_time_draws_its_conditions_there():
    problem = Cooling()
    initial, rim = problem.sample(60, seed=0, condition_points=40).conditions
    assert set(initial[:, 2]) == {0.0}
    np.testing.assert_allclose(np.hypot(rim[:, 0], rim[:, 1]), 1.0, rtol=1e-5)
    assert 0 < rim[:, 2].min() < 0.5 < 1.5 < rim[:, 2].max() < 2


def test_drawing_leaves_numpys_generator_as_it_was():
    before = repr(np.random.get_state())  # noqa: NPY002
    found, *_ = region("difference")
    one, other = (found.boundary(50, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert repr(np.random.get_state()) == before  # noqa: NPY002


class Cooled(phasecore.Problem):
    """Robin's condition on a plate of DeepXDE's with a hole."""

    domain = {("x", "y"): dde.geometry.Rectangle([-1, -1], [1, 1]) - dde.geometry.Disk([0, 0], 0.4)}  # noqa: RUF012
    outputs = ("u",)

    def conditions(self):
        def robin(x, u, normal, xp):
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + 2 * u["u"]

        return phasecore.ResidualCondition("cooled", lambda at: at["x"] ** 2 + at["y"] ** 2 < 0.5, robin)

    def residuals(self, x, u, xp):
        return u["u_xx + u_yy"] + 1


def test_a_problem_on_a_geometry_of_deepxde_is_trained():
    problem = Cooled()
    check_problem(problem)
    points = problem.sample(60, seed=0, condition_points=20)
    (hole,) = points.conditions
    np.testing.assert_allclose(np.hypot(*hole.T), 0.4, rtol=1e-5)
    np.testing.assert_allclose(problem.normals(hole), -hole / 0.4, atol=1e-5)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
    loss_fn = phasecore_torch.PhysicsLoss(problem, model, points)
    loss_fn().backward()
    at = torch.as_tensor(hole).requires_grad_()
    u = model(at)[:, 0]
    (slopes,) = torch.autograd.grad(u.sum(), at)
    expected = ((slopes * -at / 0.4).sum(1) + 2 * u).square().mean()
    assert loss_fn.losses.unweighted["cooled"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_an_ellipse_whose_box_is_wrong_is_whole_and_has_no_normals():
    ellipse = dde.geometry.Ellipse([0.5, 0], 1, 0.5, 0.3)
    found = region_of("mine", ellipse)
    assert found.contains(np.asarray([[1.4, 0.25], [1.4, -0.25]])).tolist() == [
        *ellipse.inside(np.asarray([[1.4, 0.25], [1.4, -0.25]]))
    ]
    points = found.boundary(200, np.random.default_rng(0))
    assert points[:, 0].max() > 1.4
    with pytest.raises(InputError, match="DeepXDE's Ellipse, which has none"):
        found.normals(points)
