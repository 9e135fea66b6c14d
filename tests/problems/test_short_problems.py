"""A problem in a dozen lines: what is inferred, what it is refused for, and that it is a problem like any other."""

# ruff: noqa: RUF012

import copy
import dataclasses
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import phasecore
from phasecore import InputError, UnknownNameError
from phasecore.problems import AllenCahn, Burgers, Helmholtz, LidDrivenCavity, Preset
from phasecore.problems.checks import residuals_of
from phasecore.problems.rehearsal import rehearse
from phasecore.testing import check_problem


class Wave(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 2)}
    outputs = ("u",)
    speed = 1.0

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"]), "u_t": 0})]

    def residuals(self, x, u, xp):
        return u["u_tt"] - self.speed**2 * u["u_xx"]

    def reference(self, x, t):
        return np.sin(np.pi * x) * np.cos(np.pi * self.speed * t)


class FasterWave(Wave):
    speed = 3.0


class Lorenz(phasecore.Problem):
    domain = {"t": (0, 3)}
    outputs = ("a", "b", "c")
    sigma, rho, beta = 10.0, 28.0, 8 / 3

    def residuals(self, x, u, xp):
        a, b, c = u["a"], u["b"], u["c"]
        return (
            u["a_t"] - self.sigma * (b - a),
            u["b_t"] - a * (self.rho - c) + b,
            u["c_t"] - a * b + self.beta * c,
        )


class Flow(phasecore.Problem):
    """Two named equations that share partials, an operator with a parameter for factor, branches and a helper."""

    domain = {"x": (0.0, 1.0), "y": (0.0, 1.0), "t": (0.0, 1.0)}
    outputs = ("u", "p")
    viscosity = 0.1
    convective = True
    kind = "full"

    def residuals(self, x, u, xp):
        momentum = u["u_t - viscosity*u_xx"] + u["p_x"]
        if self.convective:
            momentum = momentum + u["u"] * u["u_x"]
        weight = xp.where(x["x"] > 0.5, xp.exp(-u["p"]), xp.ones_like(u["p"]))
        return {"momentum": momentum, "pressure": weight * self.laplacian(u) + 0.0 * xp.mean(u["u"])}

    def laplacian(self, u):
        return u["p_xx + p_yy"]


def with_residuals(function, **members):
    def residuals(self, x, u, xp):
        return function(x, u, xp)

    return type(
        "Mine", (phasecore.Problem,), {"domain": {"t": (0, 1)}, "outputs": ("u",), **members, "residuals": residuals}
    )


SHORT = (Wave, FasterWave, Lorenz, Flow)


@pytest.mark.parametrize("cls", SHORT)
def test_a_short_problem_keeps_the_contract(cls):
    check_problem(cls())


def test_what_is_left_out_is_inferred():
    problem = Wave(speed=2)
    assert (problem.name, problem.coordinates, problem.grid) == ("wave", ("x", "t"), (101, 101))
    assert problem.equations == {"pde": ("u_tt", "u_xx")}
    assert problem.terms == ("pde", "initial")
    assert problem.parameters == {"speed": 2}
    assert isinstance(problem.presets["quick"], Preset)
    assert FasterWave().name == "faster_wave"
    assert Lorenz().grid == (1001,)
    assert Lorenz().conditions == []
    assert not Lorenz().has_reference


def test_a_class_says_what_its_instances_would():
    assert (Wave.name, Wave.coordinates, Wave.grid) == ("wave", ("x", "t"), (101, 101))
    assert Wave.equations == {"pde": ("u_tt", "u_xx")}
    assert Flow.coordinates == ("x", "y", "t")


def test_each_equation_has_the_partials_that_it_was_computed_from():
    assert Flow().equations == {
        "momentum": ("u_t - viscosity*u_xx", "p_x", "u", "u_x"),
        "pressure": ("u", "p", "p_xx + p_yy"),
    }
    assert Lorenz().equations == {
        "pde_1": ("a", "b", "a_t"),
        "pde_2": ("a", "b", "c", "b_t"),
        "pde_3": ("a", "b", "c", "c_t"),
    }


def test_a_branch_on_a_parameter_reads_what_that_parameter_needs():
    assert "u_x" not in Flow(convective=False).equations["momentum"]
    assert "u_x" in Flow().equations["momentum"]


def test_what_is_given_goes_before_what_is_inferred():
    given = {
        "name": "other",
        "grid": (5,),
        "equations": {"ode": ("u_t",)},
        "presets": {"quick": Preset(points=10, width=4, depth=1, iterations=5)},
    }
    problem = with_residuals(lambda x, u, xp: {"ode": u["u_t"]}, **given)()
    assert {name: getattr(problem, name) for name in given} == given
    assert residuals_of(problem, {"t": np.zeros(3)}, {"u_t": np.ones(3)}, np)["ode"].tolist() == [1.0] * 3


@pytest.mark.parametrize("problem", [AllenCahn(), Burgers(), Helmholtz(), LidDrivenCavity()], ids=lambda p: p.name)
def test_what_the_built_in_problems_declare_is_what_would_be_inferred(problem):
    assert {name: sorted(reads) for name, reads in rehearse(problem).equations.items()} == {
        name: sorted(reads) for name, reads in problem.equations.items()
    }


def test_residuals_alone_and_in_a_tuple_get_the_inferred_names():
    at, three = {"x": np.zeros(3), "t": np.zeros(3)}, np.ones(3)
    assert residuals_of(Wave(2.0), at, {"u_tt": three, "u_xx": three}, np)["pde"].tolist() == [-3.0] * 3
    partials = dict.fromkeys(("a", "b", "c", "a_t", "b_t", "c_t"), three)
    assert list(residuals_of(Lorenz(), {"t": three}, partials, np)) == ["pde_1", "pde_2", "pde_3"]


def test_parameters_are_those_of_a_frozen_dataclass():
    problem = Wave(3.0)
    assert problem == Wave(speed=3.0) != Wave()
    assert hash(problem) == hash(Wave(3.0))
    assert repr(problem) == "Wave(speed=3.0)"
    assert dataclasses.replace(problem, speed=4.0).speed == 4.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.speed = 5.0
    assert Wave.speed == 1.0
    assert FasterWave().speed == 3.0
    assert Wave().speed == 1.0
    assert Flow().parameters == {"viscosity": 0.1, "convective": True, "kind": "full"}


def test_a_derived_class_has_its_own_values_whichever_is_made_first():
    class First(phasecore.Problem):
        domain = {"t": (0, 1)}
        outputs = "u"
        rate = 1.0

        def residuals(self, x, u, xp):
            return u["u_t"] + self.rate * u["u"]

    class Second(First):
        rate = 2.0
        shift = 0.5

    assert Second().parameters == {"rate": 2.0, "shift": 0.5}
    assert First().parameters == {"rate": 1.0}

    @dataclass(frozen=True)
    class Third(First):
        rate: float = 3.0
        name: ClassVar = "third_one"

    assert (Third().parameters, Third().name, First().rate) == ({"rate": 3.0}, "third_one", 1.0)


def test_a_decorated_class_may_leave_out_the_rest_too():
    @dataclass(frozen=True)
    class Decay(phasecore.Problem):
        rate: float = 2.0
        domain: ClassVar = {"t": (0, 1)}
        outputs: ClassVar = ("u",)

        def residuals(self, x, u, xp):
            return u["u_t"] + self.rate * u["u"]

    assert Decay(3.0).equations == {"pde": ("u_t", "u")}
    assert Decay(3.0).rate == 3.0
    check_problem(Decay())


@pytest.mark.parametrize("cls", SHORT)
def test_copies_and_pickles_are_equal_and_work(cls):
    for problem in (cls(), (made := cls()).equations and made):
        for again in (copy.copy(problem), copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
            assert again == problem
            assert again.equations == problem.equations
            assert again.names_equations == problem.names_equations


def test_checks_of_ones_own_are_run():
    class Positive(Wave):
        def __post_init__(self):
            if self.speed <= 0:
                raise InputError("speed", received=self.speed, expected="a positive number")

    with pytest.raises(InputError, match="positive number"):
        Positive(speed=-1.0)
    assert Positive(2.0).speed == 2.0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sped": 1.0}, r"unknown parameter of problem 'wave': received 'sped'.*Did you mean 'speed'\?"),
        ({"speed": "fast"}, r"problem 'wave', parameter 'speed': received 'fast'; expected a number"),
        ({"speed": True}, r"parameter 'speed': received True; expected a number"),
    ],
)
def test_wrong_parameters_are_refused(given, told):
    with pytest.raises(InputError, match=told):
        Wave(**given)


def test_too_many_and_missing_parameters_are_refused():
    class Needs(Wave):
        depth: float

    with pytest.raises(InputError, match="parameter 'depth': received no value"):
        Needs()
    with pytest.raises(InputError, match="3 values; expected 2 at most: speed, depth"):
        Needs(1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="'speed': received two values"):
        Needs(1.0, speed=2.0)
    with pytest.raises(UnknownNameError):
        Flow(kind="x", knid="y")


REFUSED = {
    "a decision on a value": (
        lambda x, u, xp: u["u_t"] if u["u"][0] > 0 else u["u_tt"],
        r"cannot be found by running it once: received a decision on the values of an array \(line \d+ of .*test_short"
        r".*values of stand-ins cannot be compared.*xp.where.*equations = ",
    ),
    "a decision on all values": (lambda x, u, xp: u["u_t"] if (u["u"] > 0).all() else u["u"], "a decision on the val"),
    "a decision on a coordinate": (
        lambda x, u, xp: u["u_t"] if xp.max(x["t"]) > 0.5 else u["u"],
        "a decision on the v",
    ),
    "a number": (lambda x, u, xp: u["u_t"] * float(u["u"][0]), "an array is turned into a number"),
    "an item": (lambda x, u, xp: u["u_t"] * u["u"][0].item(), "an array is turned into a number"),
    "an array of numpy": (lambda x, u, xp: np.asarray(u["u_t"]), "an array is turned into one of numpy"),
    "an unknown partial": (lambda x, u, xp: u["u_y"], r"unreadable partial derivative: received 'u_y'"),
    "an unknown output": (lambda x, u, xp: u["v"], r"unreadable partial derivative: received 'v'"),
    "a partial that is no name": (lambda x, u, xp: u[0], r"a partial: received 0; expected its name"),
    "all partials": (lambda x, u, xp: sum(u.values()), "which partials are read: received a look through all"),
    "an unknown function": (lambda x, u, xp: xp.arcsinus(u["u"]), "xp has no 'arcsinus'; what every framework has is"),
    "an error": (lambda x, u, xp: 1 / 0, r"run once to see what it reads: received ZeroDivisionError"),
    "a mean": (lambda x, u, xp: xp.mean(u["u_t"]), r"residual of 'pde': received shape \(\) at 5 points"),
    "a column": (lambda x, u, xp: xp.reshape(u["u_t"], (-1, 1)), r"received shape \(5, 1\) at 5 points"),
    "one short": (lambda x, u, xp: u["u_t"][1:], r"received shape \(4,\)"),
    "a constant": (lambda x, u, xp: 0.0, r"received a float, 0.0 computed from no partial"),
    "a coordinate": (lambda x, u, xp: xp.sin(x["t"]), "received values computed from no partial"),
    "None": (lambda x, u, xp: None, r"residuals\(\): received None; expected the residual"),
    "a name with a space": (
        lambda x, u, xp: {"mass balance": u["u_t"]},
        "an equation: received .mass balance.",
    ),
    "no equations": (lambda x, u, xp: {}, r"received a mapping with \[\]"),
    "one of two without partials": (
        lambda x, u, xp: (u["u_t"], x["t"]),
        r"'pde_2': received values computed",
    ),
}


@pytest.mark.parametrize(("function", "told"), REFUSED.values(), ids=REFUSED)
def test_residuals_that_cannot_be_rehearsed_are_refused(function, told):
    with pytest.raises(InputError, match=told) as caught:
        _ = with_residuals(function)().equations
    assert "\n" not in str(caught.value)


ACCEPTED = {
    "a choice by value": lambda x, u, xp: xp.where(u["u"] > 0, u["u_t"], -u["u_t"]),
    "numpy's own functions": lambda x, u, xp: np.sin(u["u"]) + u["u_t"],
    "methods": lambda x, u, xp: u["u_t"] - u["u"].mean(),
    "the error function": lambda x, u, xp: xp.erf(u["u"]) + u["u_t"],
    "powers and roots": lambda x, u, xp: u["u_t"] + abs(u["u"]) ** 0.5 + 2.0 ** u["u"] + xp.log(u["u"]),
    "joined arrays": lambda x, u, xp: xp.sum(xp.stack([u["u"], u["u_t"]], axis=0), axis=0),
    "a length and a shape": lambda x, u, xp: u["u_t"] / len(u["u"]) / u["u"].shape[0],
    "what is read and dropped": lambda x, u, xp: (u["u"], u["u_t"])[1],
    "a default that is never taken": lambda x, u, xp: u.get("u", 0.0) + u["u_t"],
}


@pytest.mark.parametrize("function", ACCEPTED.values(), ids=ACCEPTED)
def test_ordinary_programs_are_rehearsed(function):
    assert set(with_residuals(function)().all_partials()) == {"u", "u_t"}


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"outputs": phasecore.Problem.__dict__["outputs"]}, "without 'outputs'"),
        ({"domain": [0, 1]}, r"domain of problem 'mine': received a list"),
        ({"conditions": lambda self: None}, r"conditions\(\): received None; expected a list of conditions"),
        ({"conditions": lambda self: [("t", 0)]}, r"conditions\(\): received a tuple"),
    ],
)
def test_a_class_that_lacks_something_is_told_what(members, told):
    problem = with_residuals(lambda x, u, xp: u["u_t"], **members)()
    with pytest.raises(InputError, match=told):
        problem.check_terms()


@pytest.mark.parametrize("name", ["do.t", ".", "in/out", 3])
def test_a_name_that_frameworks_refuse_in_their_states_is_refused_of_any_term(name):
    wall = phasecore.Prescribed(name, ("t", 0), {"u": 0.0})
    of_condition = with_residuals(lambda x, u, xp: u["u_t"], conditions=lambda self: [wall])()
    of_equation = with_residuals(lambda x, u, xp: {name: u["u_t"]}, equations={name: ("u_t",)})()
    for problem in (of_condition, of_equation):
        with pytest.raises(InputError, match=f"name of a term of problem 'mine': received {name!r}; expected a text"):
            problem.check_terms()


@pytest.mark.parametrize("name", ["", "left wall", "u=0", "a:b", "größer", "u_x, u_y"])
def test_other_names_of_terms_will_do(name):
    wall = phasecore.Prescribed(name, ("t", 0), {"u": 0.0})
    with_residuals(lambda x, u, xp: u["u_t"], conditions=lambda self: [wall])().check_terms()


def test_one_condition_and_a_generator_of_them_will_do():
    start = phasecore.Prescribed("initial", ("t", 0), {"u": 1.0})

    def generated(self):
        yield start

    for method in (lambda self: start, generated, lambda self: (start,)):
        assert with_residuals(lambda x, u, xp: u["u_t"], conditions=method)().conditions == [start]


def test_without_residuals_there_is_no_problem():
    class Nothing(phasecore.Problem):
        domain = {"t": (0, 1)}
        outputs = ("u",)

    with pytest.raises(TypeError, match="residuals"):
        Nothing()


def test_references_may_be_written_with_points_or_coordinates():
    def of_points(self, points):
        return np.exp(-points[:, 0])

    def mapping(self, points):
        return {"u": np.exp(-points[:, 0])}

    def function(t):
        return np.exp(-t)

    for reference in (of_points, mapping, function, lambda self, t: np.exp(-t), lambda points: np.exp(-points[:, 0])):
        problem = with_residuals(lambda x, u, xp: u["u_t"] + u["u"], reference=reference)()
        assert problem.has_reference
        assert problem.reference([[0.0], [1.0]])["u"].tolist() == pytest.approx([1.0, np.exp(-1)])
        with pytest.raises(InputError, match="outside the domain"):
            problem.reference([[2.0]])
    with pytest.raises(InputError, match=r"expected the values of each of \['a', 'b', 'c'\]"):
        type("Wrong", (Lorenz,), {"reference": lambda self, t: t})().reference([[1.0]])


def test_a_problem_without_a_reference_says_so():
    with pytest.raises(InputError, match="reference of problem 'lorenz': received a problem that has none"):
        Lorenz().reference([[1.0]])
    found = check_problem(Lorenz(), ["numpy"])
    assert set(found.skipped.values()) == {"the problem has no reference solution."}
    assert "refuses_bad_points" in found.passed


def test_a_subclass_extends_the_conditions_of_any_form_with_or_without_parentheses():
    class Plain(phasecore.Problem):
        domain = {"x": (0, 1)}
        outputs = ("u",)

        def residuals(self, x, u, xp):
            return u["u_x"]

    class AsMethod(Plain):
        def conditions(self):
            return [*super().conditions(), phasecore.Prescribed("left", ("x", 0), {"u": 0})]

    class AsProperty(AsMethod):
        @property
        def conditions(self):
            return (*super().conditions(), *super().conditions, phasecore.Prescribed("right", ("x", 1), {"u": 0}))

    class Last(AsProperty):
        def conditions(self):
            return super().conditions()

    assert Plain().conditions == []
    assert [condition.term for condition in Last().conditions] == ["left", "left", "right"]


@pytest.mark.parametrize("declared", [None, {"pde": ("u_t",)}], ids=["inferred", "declared"])
@pytest.mark.parametrize(
    ("outputs", "told"),
    [(("u", "u_x"), "a derivative of 'u'"), (("u", "u"), "another output"), (("u", "t"), "a coordinate")],
)
def test_names_that_mean_two_things_are_refused_of_a_problem(outputs, told, declared):
    members = {
        "domain": {"x": (0, 1), "t": (0, 1)},
        "outputs": outputs,
        "residuals": lambda self, x, u, xp: u["u_t"],
        **({} if declared is None else {"equations": declared}),
    }
    with pytest.raises(InputError, match=f"for an output and for {told}; .*Give the output another name"):
        type("Named", (phasecore.Problem,), members)().check_partials()


def test_a_mixin_that_is_no_problem_may_give_conditions_and_a_domain():
    class Walls:
        def conditions(self):
            return [*super().conditions(), phasecore.Prescribed("wall", ("x", self.length), {"u": 0})]

        def domain(self):
            return {"x": (0, self.length), "t": (0, 1)}

    class Rod(phasecore.Problem):
        domain = {"x": (0, 1), "t": (0, 1)}
        outputs = ("u",)
        length = 2.0

        def conditions(self):
            return [phasecore.Prescribed("start", ("t", 0), {"u": 0})]

        def residuals(self, x, u, xp):
            return u["u_t"]

    class Walled(Walls, Rod):
        pass

    class Further(Walled):
        def conditions(self):
            return [*super().conditions(), phasecore.Prescribed("other", ("x", 0), {"u": 0})]

    assert Walled().terms == ("pde", "start", "wall")
    assert Walled(length=3).bounds[:, 0].tolist() == [0, 3]
    assert Further().terms == ("pde", "start", "wall", "other")


def with_reference(method):
    members = {
        "domain": {"x": (0, 1), "t": (0, 1)},
        "outputs": ("u",),
        "residuals": lambda self, x, u, xp: u["u_t"],
        "reference": method,
    }
    return type("Own", (phasecore.Problem,), members)()


@pytest.mark.parametrize(
    "method",
    [
        lambda self, x, t: x + 10 * t,
        lambda self, t, x: x + 10 * t,
        lambda self, t, x, factor=10: x + factor * t,
        lambda self, points: points[:, 0] + 10 * points[:, 1],
        lambda self, points, factor=10: points[:, 0] + factor * points[:, 1],
    ],
)
def test_a_reference_takes_its_coordinates_by_name_in_any_order(method):
    assert with_reference(method).reference([[0.5, 0.25]])["u"].tolist() == [3.0]


def test_a_reference_of_other_coordinates_is_told_which_there_are():
    with pytest.raises(InputError, match="a method of a, b; expected one of the points, or of the coordinates x, t"):
        with_reference(lambda self, a, b: a).reference([[0.5, 0.25]])


def test_a_trained_coefficient_that_is_no_parameter_is_told_where_it_belongs():
    class Own(phasecore.Problem):
        domain = {"x": (0, 1), "t": (0, 1)}
        outputs = ("u",)

        def __init__(self):
            self.speed = phasecore.trained(2.0)

        def residuals(self, x, u, xp):
            return u["u_t"] - self.speed * u["u_x"]

    class Listed(phasecore.Problem):
        domain = {"x": (0, 1), "t": (0, 1)}
        outputs = ("u",)
        speeds = [phasecore.trained(2.0)]

        def residuals(self, x, u, xp):
            return u["u_t"] - self.speeds[0] * u["u_x"]

    for cls in (Own, Listed):
        with pytest.raises(InputError, match=r"attribute of the class or one of its parameters, k = phasecore.trained"):
            cls().check_terms()
