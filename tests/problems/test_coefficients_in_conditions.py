"""A coefficient may be read wherever residuals are: what rehearses a problem is to find what one of numbers has."""

import numpy as np
import pytest

import phasecore
from phasecore.errors import InputError, PluginError
from phasecore.problems import Data, Integral, Prescribed, ResidualCondition, trained
from phasecore.problems.condition_rehearsal import condition_rehearsed
from phasecore.problems.identity import check_same, fingerprint
from phasecore.problems.pointwise import check_pointwise
from phasecore.problems.rehearsal import rehearse
from phasecore.sampling.places import places_of_terms


class Bar(phasecore.Problem):
    domain = {"x": (0.0, 1.0), "t": (0.0, 1.0)}  # noqa: RUF012
    outputs = ("u",)
    exchange = trained(0.5)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


def robin(side):
    return lambda self: ResidualCondition("ends", ("x", side), lambda x, u, xp: u["u_x"] + self.exchange * u["u"])


CONDITIONS = {
    "a closure": [robin(1.0)],
    "several of a term": [robin(1.0), robin(0.0)],
    "reads": [
        lambda self: ResidualCondition(
            "end", ("x", 1.0), lambda x, u, xp: u["u_x"] + self.exchange * u["u"], reads=("u", "u_x")
        )
    ],
    "two residuals": [
        lambda self: ResidualCondition("end", ("x", 1.0), lambda x, u, xp: (u["u"] / self.exchange, u["u_x"]))
    ],
    "normals": [
        lambda self: ResidualCondition(
            "sides", "boundary", lambda x, u, normal, xp: u["u_x"] * normal["x"] - self.exchange
        )
    ],
    "an integral": [lambda self: Integral("mass", {"x": (0.0, 1.0)}, lambda x, u, xp: self.exchange * u["u"], 1.0)],
}


@pytest.fixture(params=CONDITIONS)
def problem(request):
    made = CONDITIONS[request.param]
    start = Prescribed("start", ("t", 0.0), {"u": 1.0})
    return type("Rod", (Bar,), {"conditions": lambda self: [start, *(one(self) for one in made)]})()


def test_its_conditions_are_rehearsed_as_those_of_numbers(problem):
    numbers = problem.with_coefficients({"exchange": 0.5})
    points = problem.sample(12, seed=1)
    for one, other, own in zip(problem.conditions, numbers.conditions, points.conditions, strict=True):
        np.testing.assert_array_equal(condition_rehearsed(problem, one, own), condition_rehearsed(numbers, other, own))


def test_its_fingerprint_is_that_of_numbers_and_tells_equations_apart(problem):
    found = fingerprint(problem)
    assert found == fingerprint(problem.with_coefficients({"exchange": 0.5}))
    with pytest.raises(InputError, match="a condition of"):
        check_same("it was trained", found, fingerprint(problem.with_coefficients({"exchange": 0.6})))


def test_the_places_of_its_points_are_those_of_numbers(problem):
    numbers = problem.with_coefficients({"exchange": 0.5})
    points, before = problem.sample(20, seed=0), problem.sample(20, seed=1)
    sizes = dict.fromkeys(problem.equations, 20)
    for condition, own in zip(numbers.conditions, points.conditions, strict=True):
        sizes[condition.term] = sizes.get(condition.term, 0) + len(condition_rehearsed(numbers, condition, own))
    found, expected = (places_of_terms(own, points, before, sizes, sizes) for own in (problem, numbers))
    assert found.keys() == expected.keys()
    for term, places in expected.items():
        assert (found[term] is None) == (places is None) == (term == "mass")
        if places is not None:
            np.testing.assert_array_equal(found[term].nearest, places.nearest)
            np.testing.assert_array_equal(found[term].stayed, places.stayed)


TARGETS = {
    "prescribed": lambda self: Prescribed("end", ("x", 1.0), {"u": lambda x: self.exchange * x["t"]}),
    "integral": lambda self: Integral("end", {"x": (0.0, 1.0)}, lambda x, u, xp: u["u"], lambda x: self.exchange * 2.0),
}


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_computed_once_is_refused_as_before(target):
    problem = type("Fixed", (Bar,), {"conditions": lambda self: [TARGETS[target](self)]})()
    with pytest.raises((InputError, PluginError), match=r"arithmetic with trained\(0.5\)"):
        condition_rehearsed(problem, problem.conditions[0], problem.sample(9).conditions[0])


class Measured(phasecore.Problem):
    """An `__init__` of its own takes the data; the coefficient is an attribute of the class."""

    domain = {"t": (0.0, 2.0)}  # noqa: RUF012
    outputs = ("u",)
    rate = trained(0.2)

    def __init__(self, times, values):
        self.times, self.values = times, values

    def conditions(self):
        return [Data("data", self.times, {"u": self.values})]

    def residuals(self, x, u, xp):
        return {"ode": u["u_t"] + self.rate * u["u"]}


class Mixed(Measured):
    def residuals(self, x, u, xp):
        return {"ode": u["u_t"] + self.rate * xp.mean(u["u"])}


class Declared(Mixed):
    equations = {"ode": ("u", "u_t")}  # noqa: RUF012


class WithFields(Measured):
    def fields(self, x, u, xp):
        return {"flux": self.rate * u["u"]}


TIMES = np.linspace(0, 2, 20)[:, None]


@pytest.mark.parametrize("kind", [Measured, WithFields])
def test_an_attribute_of_the_class_is_one_whatever_makes_its_instances(kind):
    problem, numbers = (
        kind(TIMES, np.exp(-TIMES[:, 0])),
        type("Numbers", (kind,), {"rate": 0.2, "name": "measured"})(TIMES, np.exp(-TIMES[:, 0])),
    )
    assert problem.trained_coefficients == {"rate": trained(0.2)}
    assert problem.equations == numbers.equations == {"ode": ("u_t", "u")}
    np.testing.assert_array_equal(rehearse(problem).values["ode"], rehearse(numbers).values["ode"])
    assert fingerprint(problem) == fingerprint(numbers)
    check_pointwise(problem)


@pytest.mark.parametrize("kind", [Mixed, Declared])
def test_its_residuals_are_looked_at(kind):
    with pytest.raises(PluginError, match="depends at one point on the other points"):
        check_pointwise(kind(TIMES, np.exp(-TIMES[:, 0])))
