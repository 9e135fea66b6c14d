"""What problems return, checked in the core: the same for every adapter and for the conformance suite."""

import faulty_plugins as faulty
import numpy as np
import pytest

import phasecore
from phasecore import InputError, PluginError
from phasecore.problems import (
    CollocationPoints,
    Data,
    Helmholtz,
    Integral,
    Periodic,
    Prescribed,
    ResidualCondition,
    relative_l2_error,
)
from phasecore.problems.checks import (
    check_conditions_stay,
    check_problem_given,
    columns_joined,
    condition_residuals_of,
    fields_of,
    reference_of,
    residuals_of,
    targets_of,
)
from phasecore.problems.finite import check_residuals_are_finite, diverged, explained, not_finite
from phasecore.testing import check_problem

POINTS = np.linspace(0.0, 1.0, 5)[:, None]
AT = {"t": POINTS[:, 0]}
PARTIALS = {"u": np.ones(5), "u_t": np.ones(5)}
BY_VALUE = ("not finite", "of numpy")
"""What only a training sees: values at its points, arrays that have left its framework."""


def cases(table):
    return [pytest.param(*case, id=what) for what, case in table.items() if what not in BY_VALUE]


@pytest.mark.parametrize(("problem", "told"), cases(faulty.RESIDUALS))
def test_residuals_are_told_by_training_and_suite_alike(problem, told):
    with pytest.raises(PluginError, match=told):
        residuals_of(problem, AT, PARTIALS, np)
    with pytest.raises(
        AssertionError, match=told.replace("KeyError: 'u_tt'", "reads the partial 'u_tt', which is not")
    ):
        check_problem(problem, ["numpy"])


@pytest.mark.parametrize(("problem", "told"), cases(faulty.FIELDS))
def test_fields_are_told_by_training_and_suite_alike(problem, told):
    with pytest.raises(PluginError, match=told):
        fields_of(problem, AT, {"u": np.ones(5)}, np)
    with pytest.raises(AssertionError, match=told.replace(r"fields\(\).*KeyError: 'u_t'", "fields reads .*'u_t'")):
        check_problem(problem, ["numpy"])


@pytest.mark.parametrize(("problem", "told"), cases(faulty.CONDITIONS))
def test_conditions_are_told_by_training_and_suite_alike(problem, told):
    (condition,) = problem.conditions

    def evaluate():
        targets = targets_of(condition, POINTS, ["t"])
        return condition_residuals_of(condition, {"u": np.ones(5)}, targets, np, len(POINTS))

    with pytest.raises(PluginError, match=told) as caught:
        evaluate()
    assert "'initial'" in str(caught.value)
    with pytest.raises(AssertionError, match=told):
        check_problem(problem, ["numpy"])


@pytest.mark.parametrize(("problem", "told"), list(faulty.REFERENCES.values()), ids=faulty.REFERENCES)
def test_references_are_told_in_training(problem, told):
    with pytest.raises(PluginError, match=told):
        reference_of(problem, POINTS, ["u"])


def test_what_is_sound_is_handed_on_as_it_is():
    problem = faulty.Decay()
    assert residuals_of(problem, AT, PARTIALS, np)["ode"].tolist() == [3.0] * 5
    assert fields_of(problem, AT, PARTIALS, np)["u"] is PARTIALS["u"]
    np.testing.assert_array_equal(reference_of(problem, POINTS, ["u"])["u"], np.exp(-2 * POINTS[:, 0]))
    assert targets_of(problem.conditions[0], POINTS[:1], ["t"])["u"].tolist() == [1.0]


def test_integers_and_lists_of_numbers_are_plain_real_numbers():
    problem = faulty.with_reference(lambda t: {"u": [1] * len(t)})
    found = reference_of(problem, POINTS, ["u"])["u"]
    assert (found.dtype, found.tolist()) == (np.float64, [1.0] * 5)


def test_a_lack_of_memory_is_no_fault_of_the_problem():
    class OutOfMemoryError(RuntimeError):
        pass

    def exhausted(at, partials, xp):
        raise OutOfMemoryError("of a framework")

    with pytest.raises(OutOfMemoryError):
        residuals_of(faulty.with_residuals(exhausted), AT, PARTIALS, np)


def test_what_is_not_finite_is_told_with_term_number_and_first_point():
    problem = faulty.Decay()
    points = CollocationPoints(POINTS, (np.zeros((2, 1)),))
    sound = {"ode": np.ones(5), "initial": np.ones(2)}
    assert not not_finite(problem, points, sound)
    spoiled = sound | {"ode": np.asarray([1.0, np.nan, 1.0, np.inf, 1.0])}
    expected = "the residual of 'ode' is not finite at 2 of 5 points, the first t=0.25"
    assert not_finite(problem, points, spoiled) == expected
    assert "dtype complex128" in not_finite(problem, points, {"ode": np.ones(5) * 1j})
    check_residuals_are_finite(problem, points, sound)
    with pytest.raises(PluginError, match=f"problem 'decay' before the first iteration: received {expected}"):
        check_residuals_are_finite(problem, points, spoiled)
    partly = str(diverged(problem, 7, points, spoiled, float("nan")))
    assert partly.startswith(f"training of 'decay' at iteration 7: received loss nan; {expected}")
    assert "look at the equation there" in partly
    everywhere = str(diverged(problem, 7, points, sound | {"ode": np.full(5, np.nan)}, float("nan")))
    assert "Lower the learning rate" in everywhere
    infinite = float("inf")
    told = str(diverged(problem, 7, points, {"ode": np.full(5, np.nan), "initial": np.full(2, np.nan)}, infinite))
    assert "received loss inf; the residual of 'ode' is not finite at 5 of 5 points" in told
    assert "after a step of such a loss; expected" in told
    assert "order one" in told
    assert "the residuals are finite" in str(diverged(problem, 7, points, sound, infinite))
    assert expected in str(diverged(problem, 7, points, spoiled, infinite))
    one_term = str(diverged(problem, 7, points, sound | {"ode": np.full(5, np.inf)}, infinite))
    assert "the residual of 'ode' is not finite at 5 of 5 points" in one_term
    error = PluginError("weights")
    assert explained(error, problem, 7, points, sound) is error
    assert expected in str(explained(error, problem, 7, points, spoiled))


def test_values_of_a_condition_that_belong_to_no_point_are_told_by_place():
    points = CollocationPoints(POINTS, (np.zeros((2, 1)),))
    told = not_finite(faulty.Decay(), points, {"initial": np.asarray([1.0, 1.0, np.nan])})
    assert told == "the residual of 'initial' is not finite in 1 of 3 values, the first at place 2"


def test_a_prediction_and_a_reference_of_two_shapes_have_no_error():
    with pytest.raises(InputError, match=r"'u'.*shape \(5,\), a reference of shape \(5, 1\)"):
        relative_l2_error({"u": np.ones(5)}, {"u": np.ones((5, 1))})


def test_prescribed_values_are_a_number_or_one_for_each_point():
    at = {"x": np.zeros(4), "t": np.zeros(4)}
    assert Prescribed("wall", ("x", 0.0), {"u": 2.0}).targets(at)["u"].tolist() == [2.0] * 4
    for wrong in (lambda at: at["t"][:, None], lambda at: at["t"][:1], lambda at: at["t"][1:]):
        with pytest.raises(InputError, match=r"prescribed value of 'u' in term 'wall': received shape"):
            Prescribed("wall", ("x", 0.0), {"u": wrong}).targets(at)


@pytest.mark.parametrize("values", [np.ones(2) * 1j, np.asarray(["a", "b"]), np.asarray([True, False])])
def test_data_are_real_numbers(values):
    with pytest.raises(InputError, match=r"data for 'u' in term 'data': received dtype"):
        Data("data", np.zeros((2, 1)), {"u": values})


FIXED = np.asarray([[0.25], [0.75]])
OTHER_EACH_TIME = {
    "values of data": (lambda draw: [Data("a", FIXED, {"u": draw(2)})], "another 'u' of the condition in term 'a'"),
    "points of data": (lambda draw: [Data("a", draw((2, 1)), {"u": FIXED[:, 0]})], "other points of the condition"),
    "points of a residual": (
        lambda draw: [ResidualCondition("a", draw((2, 1)), lambda x, u, xp: u["u"])],
        "other points of the condition in term 'a'",
    ),
    "a prescribed number": (lambda draw: [Prescribed("a", ("t", 0), {"u_t": 0, "u": draw()})], "another 'u' of"),
    "a prescribed function": (lambda draw: [Prescribed("a", ("t", 0), {"u": lambda at: draw(len(at["t"]))})], "'u'"),
    "an integral": (
        lambda draw: [Integral("a", {"t": (0, 1)}, lambda x, u, xp: u["u"], draw())],
        "another 'value of the integral' of",
    ),
    "a term": (lambda draw: [Prescribed(f"a{draw()}", ("t", 0), {"u": 0})], r"Prescribed\('a.*, then Prescribed\('a"),
    "a partial": (lambda draw: [Prescribed("a", ("t", 0), {f"{draw()}*u": 0})], r"Prescribed\('a'\) of .*\*u, then"),
    "how many": (lambda draw: [Prescribed("a", ("t", 0), {"u": 0})] * (1 + int(1e4 * draw())), "conditions, then"),
}


def with_conditions(make):
    members = {
        "domain": {"t": (0, 1)},
        "outputs": ("u",),
        "conditions": make,
        "residuals": lambda self, x, u, xp: u["u_t"],
    }
    return type("Own", (phasecore.Problem,), members)()


@pytest.mark.parametrize(("make", "told"), OTHER_EACH_TIME.values(), ids=OTHER_EACH_TIME)
def test_conditions_that_are_others_each_time_are_refused(make, told):
    generator = np.random.default_rng(0)
    problem = with_conditions(lambda self: make(lambda shape=None: generator.uniform(0, 1, shape)))
    points = [FIXED] if "integral" not in told else problem.sample(2).conditions
    with pytest.raises(InputError, match=rf"problem 'own': conditions\(\): received .*{told}.*from a seed"):
        check_conditions_stay(problem, points)


@pytest.mark.parametrize("make", [make for make, _ in OTHER_EACH_TIME.values()], ids=OTHER_EACH_TIME)
def test_conditions_from_a_seed_are_the_same_each_time(make):
    def same(shape=None):
        return np.random.default_rng(3).uniform(0, 1 if shape else 1e-4, shape)

    problem = with_conditions(lambda self: [*make(same), Periodic("ring", "t", ("u",))])
    check_conditions_stay(problem, problem.sample(4).conditions)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((Helmholtz, None), r"received the class Helmholtz; expected a problem. Write Helmholtz\(\)"),
        ((print, Helmholtz()), r"and the problem for the model; .*Exchange the two arguments"),
        (("wave", None), r"received 'wave'; .*phasecore.problem\('wave'\)"),
        ((None, None), "received None; expected a problem"),
        (({"x": (0, 1)}, None), r"received a mapping with \['x'\]; expected a problem"),
    ],
)
def test_what_is_no_problem_is_told_what_to_write(given, told):
    with pytest.raises(InputError, match=f"argument 'problem': .*{told}"):
        check_problem_given(*given)


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ({"x": np.zeros(5)}, r"columns \['x'\]; expected one for each of \['x', 't'\]"),
        ({"x": np.zeros(5), "t": np.zeros(5), "y": np.zeros(5)}, "columns .*'y'"),
        ({"x": np.zeros(5), "t": np.zeros((1, 1))}, r"'x' of shape \(5,\), 't' of shape \(1, 1\); expected columns of"),
        ({"x": np.zeros(5), "t": 0.0}, r"'t' of shape \(\)"),
    ],
)
def test_columns_are_one_for_each_coordinate_and_of_one_length(points, told):
    with pytest.raises(InputError, match=f"collocation points by name: received .*{told}"):
        columns_joined(points, ["x", "t"])


def test_columns_are_joined_in_the_order_of_the_coordinates():
    columns = {"t": np.zeros((2, 1)), "x": [1.0, 2.0]}
    assert columns_joined(columns, ["x", "t"]).tolist() == [[1.0, 0.0], [2.0, 0.0]]
    points = np.zeros((3, 2))
    assert columns_joined(points, ["x", "t"]) is points
