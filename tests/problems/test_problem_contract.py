"""What the base class does for every problem, on a problem with three coordinates and shared terms."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from phasecore import InputError
from phasecore.problems import Data, Prescribed, Preset, Problem, relative_l2_error


@dataclass(frozen=True)
class Flow(Problem):
    speed: float = 1.0
    viscosity: float = 0.1

    name: ClassVar = "flow"
    coordinates: ClassVar = ("x", "y", "t")
    outputs: ClassVar = ("psi", "p")
    equations: ClassVar = {"momentum": ("psi_xxy", "psi_y", "p_x"), "pressure": ("p_xx + p_yy", "psi_y")}
    field_partials: ClassVar = ("psi_y", "p")
    grid: ClassVar = (3, 4, 2)
    reference_accuracy: ClassVar = "exact"
    presets: ClassVar = {"quick": Preset(points=10, width=4, depth=1, iterations=1)}

    @property
    def domain(self):
        return {"x": (0.0, 2.0), "y": (-1.0, 1.0), "t": (0.0, 10.0)}

    @property
    def conditions(self):
        return [
            Prescribed("wall", ("y", 1.0), {"psi_y": 0.0}),
            Prescribed("start", ("t", 0.0), {"p": 0.0}),
            Prescribed("wall", ("y", -1.0), {"psi_y": 0.0}),
            Data("measured", np.asarray([[1.0, 0.0, 5.0]]), {"p": np.asarray([0.0])}),
        ]

    def residuals(self, coordinates, partials, xp):
        raise NotImplementedError

    def reference(self, points):
        raise NotImplementedError


def test_terms_are_the_equations_then_the_conditions_each_once():
    assert Flow().terms == ("momentum", "pressure", "wall", "start", "measured")


def test_partials_of_all_equations_are_listed_once():
    assert Flow().all_partials() == ("psi_xxy", "psi_y", "p_x", "p_xx + p_yy")
    assert Flow().fields_read == ("psi_y", "p")
    Flow().check_partials()


@pytest.mark.parametrize(
    "members",
    [
        {"equations": {"momentum": ("psi_z",)}},
        {"field_partials": ("u",)},
        {"conditions": property(lambda self: [Prescribed("wall", ("y", 1.0), {"psi_xy + p": 0.0})])},
    ],
)
def test_a_partial_that_cannot_be_read_is_refused_wherever_it_is_declared(members):
    broken = dataclass(frozen=True)(type("Broken", (Flow,), members))
    with pytest.raises(InputError, match="partial derivative"):
        broken().check_partials()


def test_parameters_are_the_fields_of_the_dataclass():
    assert Flow(speed=2.0).parameters == {"speed": 2.0, "viscosity": 0.1}


def test_bounds_are_in_the_order_of_the_coordinates():
    assert Flow().bounds.tolist() == [[0.0, -1.0, 0.0], [2.0, 1.0, 10.0]]


def test_the_evaluation_grid_has_the_last_coordinate_fastest():
    points = Flow().evaluation_points()
    assert points.shape == (24, 3)
    assert points[0].tolist() == [0.0, -1.0, 0.0]
    assert points[1].tolist() == [0.0, -1.0, 10.0]
    assert points[2, :2] == pytest.approx([0.0, -1 / 3])
    assert points[-1].tolist() == [2.0, 1.0, 10.0]


def test_a_sample_has_points_for_each_condition_in_order():
    points = Flow().sample(100, seed=1, condition_points=6)
    assert points.interior.shape == (100, 3)
    assert [len(chosen) for chosen in points.conditions] == [6, 6, 6, 1]
    assert set(points.conditions[0][:, 1]) == {1.0}
    assert set(points.conditions[1][:, 2]) == {0.0}
    assert set(points.conditions[2][:, 1]) == {-1.0}


def test_the_number_of_condition_points_follows_the_number_of_points():
    assert len(Flow().sample(100).conditions[0]) == 20
    assert len(Flow().sample(101).conditions[0]) == 21
    assert len(Flow().sample(1).conditions[0]) == 2


def test_conditions_and_interior_are_drawn_independently():
    points = Flow().sample(50, seed=0, condition_points=50)
    more = Flow().sample(80, seed=0, condition_points=50)
    for one, other in zip(points.conditions, more.conditions, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(points.conditions[0][:, 0], points.conditions[2][:, 0])
    assert not np.array_equal(points.conditions[0][:, 0], points.interior[:, 0])


@pytest.mark.parametrize("count", [0, -3, 2.0, "4", True, None])
def test_counts_that_are_no_positive_integers_are_refused(count):
    with pytest.raises(InputError, match=r"number of points: received.*positive integer"):
        Flow().sample(count)


@pytest.mark.parametrize("count", [0, -3, 2.0, "4", True])
def test_condition_counts_are_checked_too(count):
    with pytest.raises(InputError, match="number of condition_points"):
        Flow().sample(10, condition_points=count)


def test_points_are_returned_in_double_precision_and_may_be_integers_or_on_the_bounds():
    given = [[0, -1, 0], [2, 1, 10]]
    checked = Flow().check_points(given)
    assert checked.dtype == np.float64
    assert checked.tolist() == given
    single = np.asarray([[0.1, 0.2, 0.3]], dtype=np.float32)
    assert Flow().check_points(single).dtype == np.float64


def test_points_are_copied():
    given = np.zeros((1, 3))
    Flow().check_points(given)[0, 0] = 7.0
    assert given[0, 0] == 0.0


def test_single_precision_rounding_at_the_bounds_is_no_error():
    edge = np.asarray([[2.0 + 1e-6, 1.0, 10.0]])
    assert Flow().check_points(edge.astype(np.float32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("points", "complaint"),
    [
        ([[3.0, 0.0, 0.0]], r"outside the domain: received row 0: \[3.0, 0.0, 0.0\] \(1 rows in all\).*x in \[0, 2\]"),
        ([[1.0, 0.0, 0.0], [1.0, 0.0, -1.0], [1.0, 5.0, 0.0]], r"row 1.*\(2 rows in all\)"),
        ([[np.nan, 0.0, 0.0]], "outside the domain"),
        ([[np.inf, 0.0, 0.0]], "outside the domain"),
        ([[1.0, 0.0]], r"shape \(1, 2\)"),
        ([1.0, 0.0, 0.0], r"shape \(3,\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((2, 3), dtype=complex), "dtype complex"),
        (np.zeros((2, 3), dtype=bool), "dtype bool"),
        ([["a", "b", "c"]], "dtype"),
        (None, "dtype object"),
        ([[0.0, 0.0, 0.0], [0.0]], r"expected real numbers of shape \(n, 3\)"),
    ],
)
def test_bad_points_are_refused(points, complaint):
    with pytest.raises(InputError, match=complaint) as caught:
        Flow().check_points(points, "test points")
    assert "test points of problem 'flow'" in str(caught.value)


def test_the_relative_error_is_over_all_fields_of_the_reference():
    reference = {"u": np.asarray([3.0]), "v": np.asarray([0.0, 4.0])}
    prediction = {"p": np.asarray([9.0]), "v": np.asarray([0.0, 4.0]), "u": np.asarray([2.0])}
    assert relative_l2_error(prediction, reference) == pytest.approx(0.2)
    assert relative_l2_error(reference, reference) == 0.0


def test_parameters_may_be_factors_of_partials():
    flow = Flow(viscosity=0.5)
    assert flow.parameters == {"speed": 1.0, "viscosity": 0.5}

    class Diffusing(Flow):
        equations: ClassVar = {"momentum": ("p_t - viscosity*p_xx + speed*p_x",), "pressure": ("rate*p",)}

    with pytest.raises(InputError, match=r"'rate\*p'.*'speed', 'viscosity'"):
        Diffusing().check_partials()
    Diffusing.equations = {"momentum": ("p_t - viscosity*p_xx + speed*p_x",)}
    Diffusing().check_partials()


def test_a_problem_without_parameters_need_be_no_dataclass():
    class Still(Problem):
        domain = conditions = residuals = reference = None

    assert Still().parameters == {}
