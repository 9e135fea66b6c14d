"""Trained coefficients without a framework: what they are, how they are written, and what problems make of them."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phasecore
from phasecore.errors import InputError
from phasecore.partials import parse_partial
from phasecore.problems import AllenCahn, Burgers, Helmholtz, LidDrivenCavity, Problem, Trained, trained, true_value
from phasecore.problems.coefficients import as_trained
from phasecore.recording.history import plain
from phasecore.specifications import parse_composed, parse_specification, split_weightings
from phasecore.testing import check_problem

OPTIONS = [{}, {"positive": True}, {"bounds": (-2.0, 3.0)}, {"learning_rate": 0.01, "true": 0.25}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_coefficient_is_read_back_from_its_text(options):
    coefficient = trained(0.1, **options)
    assert as_trained(repr(coefficient)) == as_trained(plain(coefficient)) == coefficient
    name, parameters = parse_specification(f"burgers:viscosity={coefficient!r},data_points=7", "problem")
    made = phasecore.problem(name, **parameters)
    assert made == Burgers(coefficient, 7)
    assert made.trained_coefficients == {"viscosity": coefficient}
    assert phasecore.problem(name, **plain(made.parameters)) == made


NUMBERS = {"float64": np.float64, "float32": np.float32, "longdouble": np.longdouble, "int64": np.int64}


@pytest.mark.parametrize("kind", NUMBERS.values(), ids=NUMBERS)
def test_numbers_of_numpy_are_written_as_those_of_python(kind):
    number, low, high = kind(2), kind(1), kind(3)
    every = (
        trained(number),
        trained(number, learning_rate=number, true=number),
        trained(number, bounds=(low, high), true=number),
    )
    for coefficient in every:
        assert as_trained(repr(coefficient)) == as_trained(plain(coefficient)) == coefficient
        assert "np." not in repr(coefficient)
    assert repr(trained(2)) == "trained(2)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trained()", "expected trained"),
        ("trained(0.1", "expected trained"),
        ("trained(0.1)+1", "expected trained"),
        ("trained(0.1,positiv=True)", "positive=True"),
        ("trained(x)", "expected trained"),
        ("trained('0.1')", "initial value"),
        ("trained(True)", "initial value"),
        ("trained(1e999)", "initial value"),
        ("trained(0.1,positive=1)", "True or False"),
        ("trained(-0.1,positive=True)", "above 0"),
        ("trained(0.1,bounds=(0.2,1))", "between the bounds"),
        ("trained(0.1,bounds=(0.1,1))", "no bound itself"),
        ("trained(0.1,bounds=(1,0))", "the lower one first"),
        ("trained(0.1,bounds=3)", "two finite numbers"),
        ("trained(0.1,positive=True,bounds=(0,1))", "one of them"),
        ("trained(0.1,learning_rate=0)", "learning_rate"),
        ("trained(0.1,true=-1,positive=True)", "'true'"),
        ("trained(-0.1)", "a positive number"),
    ],
)
def test_what_is_wrong_with_a_coefficient_is_said(text, told):
    with pytest.raises(InputError, match="received") as error:
        phasecore.problem("burgers", viscosity=text)
    assert told in str(error.value)


def test_brackets_hold_together_what_they_enclose():
    text = "burgers:viscosity=trained(0.1,bounds=(0,1)),data_points=3"
    assert parse_specification(text, "problem")[1] == {"viscosity": "trained(0.1,bounds=(0,1))", "data_points": 3}
    assert parse_composed("a:b=f(x+y)+c:d=(1,2)", "weighting") == [("a", {"b": "f(x+y)"}), ("c", {"d": (1, 2)})]
    assert split_weightings("a:b=(1,2),c=[3,4],d") == ["a:b=(1,2),c=[3,4]", "d"]


@given(free=st.floats(-30.0, 30.0))
def test_no_step_leads_out_of_bounds(free):
    for coefficient, low, high in ((Trained(1.0, positive=True), 0.0, math.inf), (Trained(0.5, bounds=(0, 2)), 0, 2)):
        value = coefficient.value(np.float64(free), np)
        assert low <= value <= high
        if abs(free) < 10:
            assert math.isclose(coefficient.free(float(value)), free, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_coefficient_begins_at_its_initial_value(options):
    coefficient = trained(0.1, **options)
    assert math.isclose(float(coefficient.value(np.float64(coefficient.free()), np)), 0.1, rel_tol=1e-12)


OPERATIONS = {
    "sum": lambda c: c + 1,
    "product": lambda c: 2.0 * c,
    "power": lambda c: c**2,
    "negative": lambda c: -c,
    "array": lambda c: np.ones(3) * c,
    "array on the right": lambda c: c / np.ones(3),
    "float": float,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_coefficient_has_no_value_outside_of_training(operation):
    with pytest.raises(InputError, match=r"arithmetic with trained\(0.1\).*true_parameter"):
        operation(trained(0.1))


INVERSE = {
    "burgers": Burgers(trained(0.1)),
    "burgers, true value": Burgers(trained(0.1, positive=True, true=0.05), data_points=40),
    "allen_cahn": AllenCahn(trained(1e-3, positive=True), trained(1.0)),
    "helmholtz": Helmholtz(k=trained(0.3, bounds=(0.0, 5.0))),
}


@pytest.mark.parametrize("problem", INVERSE.values(), ids=INVERSE)
def test_an_inverse_problem_keeps_the_contract_of_problems(problem):
    check_problem(problem, accuracy=1e-5)


@pytest.mark.parametrize("problem", INVERSE.values(), ids=INVERSE)
def test_reference_and_data_are_those_of_the_true_coefficients(problem):
    true = {name: problem.true_parameter(name) for name in problem.trained_coefficients}
    given = dataclasses.replace(problem, **true, **({"data_points": 0} if hasattr(problem, "data_points") else {}))
    points = problem.sample(30, seed=1).interior
    np.testing.assert_array_equal(problem.reference(points)["u"], given.reference(points)["u"])
    data = problem.conditions[-1]
    assert data.term == "data"
    assert len(data.points) == getattr(problem, "data_points", None) or len(data.points) == 500
    np.testing.assert_array_equal(data.values["u"], given.reference(data.points)["u"])
    assert "data" not in given.terms


def test_the_true_values_are_those_told_or_the_defaults():
    assert Burgers(trained(0.1)).true_parameter("viscosity") == 0.01 / math.pi
    assert Burgers(trained(0.1, true=0.5)).true_parameter("viscosity") == 0.5
    assert Burgers(0.2).true_parameter("viscosity") == 0.2
    assert LidDrivenCavity(trained(300.0)).true_parameter("reynolds") == 100.0
    with pytest.raises(InputError, match=r"trained\(0.1, true=...\)"):
        true_value(trained(0.1))


def test_a_copy_with_values_is_the_same_problem_elsewhere():
    problem = Burgers(trained(0.1, true=0.05), 12)
    copy = problem.with_coefficients({"viscosity": np.float32(0.2)})
    assert copy.viscosity == np.float32(0.2)
    assert not copy.trained_coefficients
    assert isinstance(problem.viscosity, Trained)
    assert copy.true_parameter("viscosity") == 0.05
    assert [c.term for c in copy.conditions] == [c.term for c in problem.conditions]
    with pytest.raises(InputError, match=r"'data_points'.*among \['viscosity'\]"):
        problem.with_coefficients({"data_points": 3})


@pytest.mark.parametrize("count", [-1, 2.5, True, "many"])
def test_a_bad_number_of_data_points_is_refused(count):
    for make in (lambda: Burgers(data_points=count), lambda: AllenCahn(data_points=count)):
        with pytest.raises(InputError, match="data_points"):
            make()


def test_a_forward_problem_may_have_data_too():
    assert Burgers().terms == ("pde", "initial", "boundary")
    assert Burgers(data_points=9).terms == ("pde", "initial", "boundary", "data")


class Wave(Problem):
    """A coefficient that is an attribute of the class."""

    name: ClassVar[str] = "wave"
    coordinates = ("x", "t")
    outputs = ("u",)
    equations: ClassVar[dict] = {"pde": ("u_tt - speed*u_xx",)}
    domain: ClassVar[dict] = {"x": (0, 1), "t": (0, 1)}
    conditions = ()
    speed = trained(1.0)

    def residuals(self, coordinates, partials, xp):
        return {"pde": partials["u_tt - speed*u_xx"]}

    def reference(self, points):
        return {"u": np.zeros(len(points))}


def test_a_coefficient_may_be_an_attribute_of_the_class():
    wave = Wave()
    wave.check_partials()
    assert wave.trained_coefficients == wave.parameters == {"speed": trained(1.0)}
    assert wave.with_coefficients({"speed": 2.0}).speed == 2.0
    assert wave.speed == trained(1.0)


def test_a_trained_factor_splits_its_operator_and_no_other():
    factors = {"a": trained(1.0), "b": 2.0}
    partial = parse_partial("u_xx + u_yy - a*u_t + b*u", ["u"], ["x", "y", "t"], factors)
    assert [names for names, _ in partial.summands] == [(), ("a",)]
    (_, rest), (_, own) = partial.summands
    assert dict(rest) == {(0, 0, 0): 2.0, (2, 0, 0): 1.0, (0, 2, 0): 1.0}
    assert dict(own) == {(0, 0, 1): -1.0}
