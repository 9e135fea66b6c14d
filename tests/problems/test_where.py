"""Where conditions hold: every way to say it, of every condition that can be told."""

import math
from fractions import Fraction

import numpy as np
import pytest

import phasecore
from phasecore import InputError, PluginError, trained
from phasecore.problems import Data, Disk, Integral, Periodic, Prescribed, ResidualCondition

PLACED = {
    "prescribed": lambda where: Prescribed("wall", where, {"u": 0.0}),
    "residual": lambda where: ResidualCondition("wall", where, lambda x, u, xp: u["u"]),
}
DOMAINS = {"box": {"x": (0, 1), "t": (0, 2)}, "shape": {("x", "y"): Disk((0.5, 0), 0.5), "t": (0, 2)}}


def drawn(condition, domain=DOMAINS["box"]):
    members = {
        "domain": domain,
        "outputs": ("u",),
        "conditions": lambda self: [condition],
        "residuals": lambda self, x, u, xp: u["u_t"],
    }
    problem = type("Own", (phasecore.Problem,), members)()
    return problem.check_collocation_points(problem.sample(20)).conditions[0]


NO_POSITION = {
    "interval": ("x", (0, 1)),
    "list": ("x", [0, 1]),
    "array": ("x", np.asarray([0.0, 1.0])),
    "none": ("x", ()),
    "three": ("x", 0, 1),
    "alone": ("x",),
    "text": ("x", "0"),
    "texts": ("x", ["0"]),
    "nan": ("x", math.nan),
    "infinite": ("x", math.inf),
    "bool": ("x", True),
    "complex": ("x", 1j),
    "nothing": ("x", None),
    "trained": ("x", trained(0.5)),
}


@pytest.mark.parametrize("where", NO_POSITION.values(), ids=NO_POSITION)
@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_the_position_of_a_face_is_one_finite_number(make, where):
    with pytest.raises(InputError, match=r"place of a condition in term 'wall': .*a coordinate and one finite number"):
        make(where)


@pytest.mark.parametrize("where", [("x", (0, 1)), ("x", 0, 1), ("x", np.arange(2))])
@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_several_positions_are_several_conditions(make, where):
    with pytest.raises(InputError, match='write a condition for each, or "boundary"'):
        make(where)


NO_PLACE = {
    "a word": "border",
    "a coordinate": "x",
    "a list": ["x", 0],
    "a mapping": {"x": 0},
    "a number": 0.0,
    "numbers": (0.0, 1.0),
    "one axis": np.zeros(3),
    "no points": np.zeros((0, 2)),
    "nan": [[math.nan, 0.0]],
    "texts": [["0", "1"]],
    "unequal": [[0.0, 1.0], [0.0]],
    "nothing": None,
}


@pytest.mark.parametrize("where", NO_PLACE.values(), ids=NO_PLACE)
@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_what_is_no_place_is_refused_where_it_is_written(make, where):
    with pytest.raises(InputError, match=r"place of a condition in term 'wall': .*a face such as \(\"x\", 1.0\)"):
        make(where)


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_a_face_outside_the_domain_is_refused_before_points_are_drawn(make, domain):
    with pytest.raises(InputError, match=r"outside the domain: received \('x', 2.0\); expected x in \[0, 1\]"):
        drawn(make(("x", 2)), domain)
    with pytest.raises(InputError, match="place of a condition in term 'wall': received 'z'; expected one of x"):
        drawn(make(("z", 0)), domain)


@pytest.mark.parametrize("position", [1, 1.0, np.float32(1), np.asarray(1.0), np.asarray([1]), [1], Fraction(1)])
@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_any_number_is_a_position(make, position):
    assert set(drawn(make(("x", position)))[:, 0]) == {1.0}


@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_every_placed_condition_holds_wherever_another_may(make):
    own = [[0.25, 1.0], [0.5, 0.0]]  # rows of x and t
    assert drawn(make(own)).tolist() == drawn(make(np.asarray(own))).tolist() == own
    assert make(own).is_fixed
    inside = drawn(make("interior"))
    assert len(np.unique(inside[:, 0])) == len(inside)
    assert set(drawn(make("boundary"))[:, 0]) == {0.0, 1.0}
    assert set(drawn(make(lambda at: at["x"] > 0.5))[:, 0]) == {1.0}
    for elsewhere in ([[2.0, 0.0]], [[0.0, 0.0, 0.0]]):
        with pytest.raises(InputError, match="points of condition 'wall'"):
            drawn(make(elsewhere))


def test_values_are_prescribed_at_points_and_inside_too():
    for where in ("interior", [[0.25, 1.0], [0.5, 0.0]]):
        condition = Prescribed("wall", where, {"u": lambda at: at["x"] + at["t"]})
        at = drawn(condition)
        np.testing.assert_array_equal(condition.targets(dict(zip("xt", at.T, strict=True)))["u"], at.sum(axis=1))


@pytest.mark.parametrize(
    "points", [np.zeros(3), [["0", "1"]], [[math.nan, 0.0]], [[0.0, 1.0], [0.0]], None, 0.0], ids=repr
)
def test_data_are_at_points_of_finite_numbers(points):
    with pytest.raises(InputError, match=r"points of the data in term 'wall': .*shape \(m, dimension\)"):
        Data("wall", points, {"u": np.zeros(1)})


@pytest.mark.parametrize("over", ["x", ("x", 0, 1), None, {"x": 1}, {"x": (0, 1, 2)}, {"x": "01"}, {"x": (0, "1")}])
def test_an_integral_is_over_coordinates_with_two_bounds_each(over):
    with pytest.raises(InputError, match=r"(coordinates|bounds of 'x') of an integral in term 'wall': received"):
        Integral("wall", over, lambda x, u, xp: u["u"])


@pytest.mark.parametrize("bounds", [(math.nan, 1), (0, math.inf), (1, 0), (0, trained(0.5)), (False, True)], ids=repr)
def test_bounds_of_an_integral_are_finite_numbers_that_ascend(bounds):
    with pytest.raises(InputError, match=r"bounds of 'x' of an integral in term 'wall': .*two finite ones"):
        Integral("wall", {"x": bounds}, lambda x, u, xp: u["u"])


@pytest.mark.parametrize("values", [0, "u", None, np.zeros(1), ("u", 0)], ids=repr)
@pytest.mark.parametrize(
    "make",
    [lambda values: Prescribed("wall", ("x", 0), values), lambda values: Data("wall", np.zeros((1, 2)), values)],
    ids=["prescribed", "data"],
)
def test_values_are_given_by_partial(make, values):
    with pytest.raises(InputError, match=r"in term 'wall': received .*; expected them by partial: \{\"u\": "):
        make(values)


def test_the_name_of_the_only_matched_partial_will_do():
    for name in ("u", "u_x"):
        condition = Periodic("ring", "x", name)
        assert condition.partials == (name,)
        assert condition.residuals({name: np.asarray([1.0, 3.0])}, {}, np).tolist() == [-2.0]


def targets_of_condition(condition):
    return condition.targets({"x": np.linspace(0, 1, 4), "t": np.full(4, 0.5)})


FUNCTIONS = {
    "a face": (lambda own: drawn(Prescribed("wall", own, {"u": 0})), "the part of the boundary"),
    "a place": (lambda own: drawn(PLACED["residual"](own)), "the part of the boundary"),
    "a value": (
        lambda own: targets_of_condition(Prescribed("wall", ("x", 0), {"u_x": own})),
        "prescribed value of 'u_x'",
    ),
    "an integral": (
        lambda own: targets_of_condition(Integral("wall", {"t": (0, 1)}, lambda x, u, xp: u["u"], own, nodes=1)),
        "value of an integral",
    ),
}


@pytest.mark.parametrize(("call", "what"), FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize(
    ("own", "told"),
    [
        (lambda at: at["z"], r"a function of \['x', 't'\]: received KeyError: 'z'"),
        (lambda at: at["x"] > 0 and at["t"] > 0, r"received ValueError: .*Join conditions on arrays by &, \| and ~"),
        (lambda at: 1 / 0, "received ZeroDivisionError: division by zero"),
        (lambda x, on: on, r"received a function of \(x, on\); expected one of the coordinates by name"),
        (lambda: 0.0, r"received a function of \(\); expected one of the coordinates by name"),
    ],
    ids=["key", "and", "raises", "two", "none"],
)
def test_a_function_of_a_condition_that_fails_is_named_with_its_term(call, what, own, told):
    with pytest.raises((InputError, PluginError), match=rf"{what} .*in term 'wall'.*{told}"):
        call(own)


def test_a_residual_may_have_defaults_of_its_own():
    condition = ResidualCondition("wall", ("x", 0), lambda x, u, xp, factor=3.0: factor * u["u"])
    assert condition.partials == ("u",)
    assert not condition.needs_normals
    assert condition.residuals({"u": np.ones(2)}, {"x": np.zeros(2)}, np).tolist() == [3.0, 3.0]
