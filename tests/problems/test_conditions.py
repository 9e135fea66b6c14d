import array_api_strict
import numpy as np
import pytest

from phasecore import InputError, trained
from phasecore.problems import Data, Periodic, Prescribed

COORDINATES = ("x", "t")
BOUNDS = np.asarray([[-1.0, 0.0], [1.0, 2.0]])


def drawn(condition, count=9, seed=0):
    points = condition.sample(count, COORDINATES, BOUNDS, np.random.default_rng(seed))
    return points, dict(zip(COORDINATES, points.T, strict=True))


def residuals(condition, partials, at):
    """The residuals on numpy, having checked that they are the same on strict arrays."""
    targets = condition.targets(at)
    found = condition.residuals(partials, targets, np)
    strict = condition.residuals(
        {name: array_api_strict.asarray(values) for name, values in partials.items()},
        {name: array_api_strict.asarray(np.array(values)) for name, values in targets.items()},
        array_api_strict,
    )
    np.testing.assert_array_equal(found, np.asarray(strict))
    return found


@pytest.mark.parametrize(("face", "axis"), [(("t", 0.0), 1), (("x", 1.0), 0), (("x", -1.0), 0)])
def test_points_of_a_face_lie_on_it_and_fill_the_rest(face, axis):
    points, _ = drawn(Prescribed("any", face, {"u": 0.0}), count=40)
    assert points.shape == (40, 2)
    assert set(points[:, axis]) == {face[1]}
    other = 1 - axis
    low, high = BOUNDS[:, other]
    assert low <= points[:, other].min() < low + (high - low) / 40
    assert high - (high - low) / 40 < points[:, other].max() <= high


def test_a_prescribed_number_is_subtracted_from_each_partial_in_order():
    condition = Prescribed("boundary", ("x", -1.0), {"u": 2.0, "u_x": -1.0})
    assert condition.partials == ("u", "u_x")
    _, at = drawn(condition, count=3)
    partials = {"u_x": np.asarray([0.0, 1.0, 2.0]), "u": np.asarray([2.0, 3.0, 4.0])}
    assert residuals(condition, partials, at).tolist() == [0, 1, 2, 1, 2, 3]


def test_a_prescribed_function_gets_the_coordinates_by_name():
    condition = Prescribed("initial", ("t", 0.0), {"u": lambda at: at["x"] ** 2 + at["t"]})
    points, at = drawn(condition)
    np.testing.assert_array_equal(condition.targets(at)["u"], points[:, 0] ** 2)
    np.testing.assert_array_equal(residuals(condition, {"u": points[:, 0] ** 2}, at), np.zeros(9))


def test_periodic_points_come_in_pairs_that_differ_only_along_the_period():
    condition = Periodic("boundary", "x", ("u", "u_x"))
    points, _ = drawn(condition, count=7)
    assert points.shape == (14, 2)
    assert set(points[:7, 0]) == {-1.0}
    assert set(points[7:, 0]) == {1.0}
    np.testing.assert_array_equal(points[:7, 1], points[7:, 1])
    assert len(set(points[:7, 1])) == 7


def test_periodic_residuals_are_differences_of_pairs():
    condition = Periodic("boundary", "x", ("u", "u_x"))
    assert condition.partials == ("u", "u_x")
    _, at = drawn(condition, count=2)
    assert condition.targets(at) == {}
    partials = {"u": np.asarray([1.0, 2.0, 1.0, 5.0]), "u_x": np.asarray([0.0, 0.0, 7.0, 0.0])}
    assert residuals(condition, partials, at).tolist() == [0, -3, -7, 0]


def test_a_smooth_periodic_function_meets_a_periodic_condition():
    condition = Periodic("boundary", "x", ("u",))
    _, at = drawn(condition)
    values = np.cos(np.pi * at["x"]) * at["t"]
    assert np.max(np.abs(residuals(condition, {"u": values}, at))) < 1e-15


def test_data_keep_their_points_and_values():
    points = np.asarray([[0.0, 0.5], [0.25, 1.0]])
    condition = Data("measured", points, {"u": np.asarray([3.0, 4.0])})
    for count in (1, 100):
        np.testing.assert_array_equal(drawn(condition, count)[0], points)
    _, at = drawn(condition)
    assert residuals(condition, {"u": np.asarray([3.5, 4.0])}, at).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 1)), 1.0])
def test_data_of_another_length_than_their_points_are_refused(values):
    with pytest.raises(InputError, match=r"data for 'u' in term 'measured'.*one value for each point"):
        Data("measured", np.zeros((2, 2)), {"u": values})


TRAINED = trained(0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Prescribed("wall", ("x", -1.0), {"u": TRAINED}),
        lambda: Prescribed("wall", ("x", -1.0), {"u_x": 0.0, "u": lambda at: TRAINED}),
        lambda: Prescribed("wall", ("x", -1.0), {"u": lambda at: [TRAINED] * len(at["x"])}),
        lambda: Data("wall", np.zeros((1, 2)), {"u": TRAINED}),
        lambda: Data("wall", np.zeros((2, 2)), {"u": [0.0, TRAINED]}),
    ],
)
def test_a_trained_coefficient_is_no_value_to_compare_with(make):
    def compared():
        condition = make()
        return condition.targets(drawn(condition)[1])

    told = (
        r"'u' in term 'wall': received trained\(0.5\), which is no number.*ResidualCondition\('wall', .*u\[\"u\"\] - "
    )
    with pytest.raises(InputError, match=told):
        compared()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Periodic("ring", "x", ()), "matched partials in term 'ring': received none; expected one partial"),
        (lambda: Prescribed("ring", ("x", 1.0), {}), "prescribed values in term 'ring': received none"),
        (lambda: Data("ring", np.zeros((1, 2)), {}), "data in term 'ring': received none"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


@pytest.mark.parametrize("condition", [Periodic("ring", "y", ("u",)), Prescribed("ring", ("y", 1.0), {"u": 0.0})])
def test_a_coordinate_that_is_not_there_is_told(condition):
    with pytest.raises(InputError, match="condition in term 'ring': received 'y'; expected one of x, t"):
        drawn(condition)


@pytest.mark.parametrize(
    "condition",
    [
        Prescribed("a", ("t", 0.0), {"u": 1.0}),
        Periodic("a", "x", ("u",)),
        Data("a", np.zeros((1, 2)), {"u": np.zeros(1)}),
    ],
)
def test_residuals_keep_single_precision(condition):
    points, at = drawn(condition, count=4)
    partials = {"u": np.zeros(len(points), dtype=np.float32)}
    targets = {name: values.astype(np.float32) for name, values in condition.targets(at).items()}
    assert condition.residuals(partials, targets, np).dtype == np.float32
