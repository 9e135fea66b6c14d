"""The general condition and integrals: what they read, where they hold, what they come to."""

import array_api_strict
import numpy as np
import pytest

import phasecore
from phasecore import InputError, Integral, ResidualCondition, trained
from phasecore.problems.checks import condition_residuals_of, targets_of
from phasecore.testing import check_problem


def problem_with(*conditions, domain=None, outputs=("u",), reference=None):
    members = {
        "domain": domain or {"x": (0, 2), "t": (0, 1)},
        "outputs": outputs,
        "conditions": lambda self: list(conditions),
        "residuals": lambda self, x, u, xp: u["u_t"],
        "reference": reference,
    }
    return type("Rod", (phasecore.Problem,), members)()


def residual_of(problem, partials, place=0, count=9):
    """The residual of a condition at drawn points, with partials given as functions of the coordinates."""
    points = problem.sample(4, seed=1, condition_points=count).conditions[place]
    condition = problem.conditions[place]
    at = dict(zip(problem.coordinates, points.T, strict=True))
    values = {name: partials[name](at) for name in condition.partials}
    targets = targets_of(condition, points, problem.coordinates, problem.normals)
    return points, condition_residuals_of(condition, values, targets, np, len(points))


def heat(x, t):
    return np.exp(-(np.pi**2) * t) * np.cos(np.pi * x)


KNOWN = {
    "u": lambda at: heat(at["x"], at["t"]),
    "u_x": lambda at: -np.pi * np.exp(-(np.pi**2) * at["t"]) * np.sin(np.pi * at["x"]),
}

CONDITIONS = {
    "a Robin condition on a face": ResidualCondition("robin", ("x", 2.0), lambda x, u, xp: u["u_x"] + 3 * u["u"]),
    "radiation, which is not linear": ResidualCondition("hot", ("x", 0.0), lambda x, u, xp: u["u_x"] + u["u"] ** 4 - 1),
    "a flux along the normal": ResidualCondition("flux", "boundary", lambda x, u, n, xp: u["u_x"] * n["x"] - x["t"]),
    "two residuals": ResidualCondition("both", ("x", 1.0), lambda x, u, xp: (u["u"] - x["t"], xp.sin(u["u_x"]))),
    "inside": ResidualCondition("inside", "interior", lambda x, u, xp: xp.where(x["x"] < 1, u["u"], u["u_x"])),
    "at points": ResidualCondition("points", [[0.5, 0.5], [1.0, 0.2]], lambda x, u, xp: u["u"] * x["x"] - 1),
    "one of all points": ResidualCondition("mean", "interior", lambda x, u, xp: xp.reshape(xp.mean(u["u"]), (1,))),
    "an integral": Integral("mass", {"x": (0.0, 2.0)}, lambda x, u, xp: u["u"] * x["x"], lambda at: at["t"]),
    "an integral over all": Integral("all", {"x": (0.0, 1.0), "t": (0.0, 0.5)}, lambda x, u, xp: u["u"], 1.0, nodes=4),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_problem_with_it_keeps_the_contract(name):
    check_problem(problem_with(CONDITIONS[name]))


def test_it_reads_what_its_residual_reads():
    found = {name: condition.partials for name, condition in CONDITIONS.items()}
    assert found["a Robin condition on a face"] == ("u_x", "u")
    assert found["inside"] == ("u", "u_x")
    assert found["an integral"] == ("u",)
    said = ResidualCondition("wall", "boundary", lambda x, u, xp: u[f"u_{next(iter(x))}"], reads=("u_x",))
    assert said.partials == ("u_x",)


def test_residuals_are_those_of_the_solution():
    _, robin = residual_of(problem_with(CONDITIONS["a Robin condition on a face"]), KNOWN)
    points, _ = residual_of(problem_with(CONDITIONS["a Robin condition on a face"]), KNOWN)
    np.testing.assert_allclose(robin, 3 * heat(2.0, points[:, 1]), rtol=1e-12)
    points, flux = residual_of(problem_with(CONDITIONS["a flux along the normal"]), KNOWN, count=40)
    assert set(points[:, 0]) == {0.0, 2.0}
    np.testing.assert_allclose(flux, -points[:, 1], atol=1e-12)
    points, both = residual_of(problem_with(CONDITIONS["two residuals"]), KNOWN)
    assert both.shape == (18,)
    np.testing.assert_allclose(both[:9], heat(1.0, points[:, 1]) - points[:, 1])


@pytest.mark.parametrize(("position", "sign"), [(0.0, -1.0), (2.0, 1.0), (0.5, 1.0)])
def test_the_normal_of_a_face_is_outward_and_along_the_coordinate_within(position, sign):
    condition = ResidualCondition(
        "wall", ("x", position), lambda x, u, normal, xp: 0 * u["u"] + normal["x"] + 5 * normal["t"]
    )
    points, found = residual_of(problem_with(condition), KNOWN)
    assert set(points[:, 0]) == {position}
    assert set(found) == {sign}


def test_an_interface_joins_two_outputs():
    jump = ResidualCondition(
        "interface", ("x", 1.0), lambda x, u, normal, xp: (u["u"] - u["v"], (2 * u["u_x"] - u["v_x"]) * normal["x"])
    )
    problem = problem_with(jump, outputs=("u", "v"))
    assert problem.conditions[0].partials == ("u", "v", "u_x", "v_x")
    one = {name: lambda at, k=k: 0 * at["x"] + k for k, name in enumerate(jump.partials, start=1)}
    _, found = residual_of(problem, one, count=2)
    assert found.tolist() == [-1.0, -1.0, 2.0, 2.0]


def test_an_integral_is_exact_for_polynomials_at_each_value_of_what_is_left():
    condition = Integral("mass", {"x": (0.0, 2.0)}, lambda x, u, xp: u["u"], lambda at: 4 * at["t"], nodes=4)
    points, found = residual_of(problem_with(condition), {"u": lambda at: at["x"] ** 3 * at["t"]}, count=10)
    assert len(points) == 12
    assert found.shape == (3,)
    np.testing.assert_allclose(found, 0.0, atol=1e-14)
    whole = Integral("all", {"x": (0.0, 1.0), "t": (0.0, 1.0)}, lambda x, u, xp: u["u"] * x["t"], 1.0, nodes=3)
    _, found = residual_of(problem_with(whole), {"u": lambda at: 6 * at["x"] ** 2 * at["t"] ** 3}, count=10)
    np.testing.assert_allclose(found, [6 / 15 - 1.0], rtol=1e-12)


def test_points_that_are_not_the_nodes_of_an_integral_in_order_are_refused():
    condition = Integral("mass", {"x": (0.0, 2.0)}, lambda x, u, xp: u["u"], lambda at: at["t"], nodes=4)
    (points,) = problem_with(condition).sample(4, condition_points=12).conditions
    condition.targets(dict(zip("xt", points.astype(np.float32).T, strict=True)))
    shuffled = np.random.default_rng(0).permutation(points)
    moved = points + np.asarray([0.01, 0.0])
    apart = points + np.asarray([[0.0, 1e-3 * k] for k in range(12)])
    for wrong, told in (
        (shuffled, "12 points that are not"),
        (moved, "not its"),
        (apart, "in order"),
        (points[1:], "11 p"),
    ):
        with pytest.raises(InputError, match=f"points of an integral in term 'mass': received .*{told}.*4 nodes"):
            condition.targets(dict(zip("xt", wrong.T, strict=True)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: ResidualCondition("a", "border", lambda x, u, xp: u["u"]),
            "place of a condition in term 'a': received 'bor",
        ),
        (lambda: ResidualCondition("a", (1, 2), lambda x, u, xp: u["u"]), "a face such as"),
        (
            lambda: problem_with(ResidualCondition("a", ("z", 1.0), lambda x, u, xp: u["u"])),
            "received 'z'; expected one of",
        ),
        (lambda: problem_with(ResidualCondition("a", "boundary", lambda x, u, xp: u["w_x"])), "received 'w_x'"),
        (
            lambda: problem_with(ResidualCondition("a", "boundary", lambda x, u, xp: x["x"])),
            "one that reads no partial",
        ),
        (
            lambda: problem_with(
                ResidualCondition("a", "boundary", lambda x, u, xp: u["u"] if u["u"][0] > 0 else u["u_x"])
            ),
            "cannot be found by running it once: received a decision on the values.*reads=",
        ),
        (lambda: problem_with(ResidualCondition("a", "boundary", lambda x, u, xp: 1 / 0)), "ZeroDivisionError"),
        (lambda: problem_with(ResidualCondition("a", [[0.5, 9.0]], lambda x, u, xp: u["u"])), "outside the domain"),
        (lambda: Integral("a", {"x": (1.0, 0.0)}, lambda x, u, xp: u["u"]), "bounds of 'x' of an integral in term 'a'"),
        (lambda: Integral("a", {"x": (0.0, 1.0)}, lambda x, u, xp: u["u"], nodes=0), "a positive integer"),
        (lambda: problem_with(Integral("a", {"z": (0.0, 1.0)}, lambda x, u, xp: u["u"])), "received 'z'"),
        (lambda: Integral("a", {}, lambda x, u, xp: u["u"]), "coordinates of an integral in term 'a': received none"),
        (
            lambda: problem_with(Integral("a", {"x": (0.0, 2.001)}, lambda x, u, xp: u["u"])),
            r"bounds of 'x' of an integral in term 'a': received \(0.0, 2.001\); expected within those of the domain",
        ),
        (lambda: problem_with(phasecore.Prescribed("a", "border", {"u": 0.0})), 'or "boundary"'),
        (
            lambda: problem_with(ResidualCondition("a", "boundary", lambda x, u, xp: u["u"]), domain={"t": (0, 1)}),
            "boundary of the domain: received 't' alone",
        ),
    ],
)
def test_wrong_conditions_are_refused(make, told):
    def checked():
        problem = make()
        problem.check_partials()
        problem.check_collocation_points(problem.sample(8))

    with pytest.raises(InputError, match=told):
        checked()


@pytest.mark.parametrize(
    ("residual", "told"),
    [
        (lambda x, u, xp: (u["u"] - 1, xp.mean(u["u"]) - 1), r"its residual: received shape \(\) at 9 points"),
        (lambda x, u, xp: [xp.mean(u["u"]), u["u"]], r"received shape \(\) .*or one of all of them, shape \(1,\)"),
        (lambda x, u, xp: (u["u"], xp.reshape(u["u"], (-1, 1))), r"received shape \(9, 1\) at 9 points"),
        (lambda x, u, xp: (u["u"], 0.0), r"received a float, 0.0 at 9 points"),
        (lambda x, u, xp: (u["u"], None), r"received None at 9 points"),
        (lambda x, u, xp: (u["u"], u["u"][1:]), r"received shape \(8,\) at 9 points"),
        (lambda x, u, xp: (), "condition of term 'both': received no residual"),
    ],
)
def test_each_of_several_residuals_has_one_axis(residual, told):
    condition = ResidualCondition("both", "interior", residual, reads=("u",))
    with pytest.raises(InputError, match=told):
        residual_of(problem_with(condition), KNOWN)


def test_of_one_point_a_scalar_among_several_residuals_will_do():
    condition = ResidualCondition("both", [[0.5, 0.0]], lambda x, u, xp: (u["u"] - x["x"], xp.mean(u["u"]), u["u"]))
    _, found = residual_of(problem_with(condition), {"u": lambda at: 3 + 0 * at["x"]})
    assert found.tolist() == [2.5, 3.0, 3.0]


class Cooled(phasecore.Problem):
    domain = {"x": (0, 1), "y": (0, 1)}  # noqa: RUF012
    outputs = "u"
    transfer = phasecore.trained(0.5)

    def conditions(self):
        def loss_of_heat(x, u, normal, xp):
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + (1 - self.transfer**2) * u["u"] / self.transfer

        return [
            phasecore.ResidualCondition("cooled", "boundary", loss_of_heat),
            phasecore.Integral("mass", {"x": (0, 1), "y": (0, 1)}, lambda x, u, xp: self.transfer * u["u"], 1.0),
        ]

    def residuals(self, x, u, xp):
        return u["u_xx"] + u["u_yy"]


def test_a_condition_reads_a_trained_coefficient():
    problem = Cooled()
    assert [set(condition.partials) for condition in problem.conditions] == [{"u_x", "u_y", "u"}, {"u"}]
    one = {name: np.ones(3) for name in ("u", "u_x", "u_y")}
    targets = {"x": np.zeros(3), "y": np.zeros(3), "normal x": np.ones(3), "normal y": np.zeros(3)}
    bound = problem.with_coefficients({"transfer": 2.0}).conditions[0]
    assert np.asarray(bound.residuals(one, targets, np)) == pytest.approx(1 + (1 - 4) / 2)
    with pytest.raises(phasecore.InputError, match="whose value is known in training alone"):
        problem.conditions[0].residuals(one, targets, np)


INTEGRANDS = {
    "a column": (lambda x, u, xp: xp.reshape(u["u"], (-1, 1)), r"shape \(8, 1\) at 8 points"),
    "a table": (lambda x, u, xp: xp.reshape(u["u"], (-1, 1)) * u["u"], r"shape \(8, 8\) at 8 points"),
    "a mean": (lambda x, u, xp: xp.mean(u["u"]), r"shape \(\) at 8 points"),
    "an integral": (lambda x, u, xp: xp.reshape(xp.mean(u["u"]), (1,)), r"shape \(1,\) at 8 points"),
    "some": (lambda x, u, xp: u["u"][1:], r"shape \(7,\) at 8 points"),
    "a number": (lambda x, u, xp: 1.0, "a float, 1.0 at 8 points"),
    "nothing": (lambda x, u, xp: None, "None at 8 points"),
}


@pytest.mark.parametrize(("integrand", "told"), INTEGRANDS.values(), ids=INTEGRANDS)
@pytest.mark.parametrize("namespace", [np, array_api_strict], ids=["numpy", "strict"])
def test_an_integrand_has_one_value_for_each_point(integrand, told, namespace):
    condition = Integral("mass", {"x": (0.0, 1.0)}, integrand, nodes=4, reads=("u",))
    points = condition.sample(8, ("x", "t"), np.asarray([[0.0, 0.0], [2.0, 3.0]]), np.random.default_rng(0))
    targets = condition.targets(dict(zip("xt", points.T, strict=True)))
    given = {name: namespace.asarray(np.array(values)) for name, values in targets.items()}
    told = rf"integral in term 'mass': its integrand: received {told}; expected one value for each point, shape \(8,\)"
    with pytest.raises(InputError, match=told):
        condition.residuals({"u": namespace.asarray(np.zeros(8))}, given, namespace)


def test_an_integrand_of_one_node_may_be_a_scalar():
    condition = Integral("mass", {"x": (0.0, 2.0)}, lambda x, u, xp: xp.mean(u["u"]), 1.0, nodes=1)
    targets = condition.targets({"x": np.asarray([1.0])})
    assert condition.residuals({"u": np.asarray([3.0])}, targets, np).tolist() == [5.0]


@pytest.mark.parametrize(
    "value", ["1", None, [1.0, 2.0, 3.0], lambda at: at["t"][:, None], lambda at: "1", (0, 1j), trained(1.0)]
)
def test_the_value_of_an_integral_is_a_number_or_one_for_each_of_what_is_left(value):
    condition = Integral("mass", {"x": (0.0, 1.0)}, lambda x, u, xp: u["u"], value, nodes=4)
    points = condition.sample(8, ("x", "t"), np.asarray([[0.0, 0.0], [2.0, 3.0]]), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"value of an integral in term 'mass': .*a number, or shape \(2,\)"):
        condition.targets(dict(zip("xt", points.T, strict=True)))


@pytest.mark.parametrize("name", ["value", "weight"])
def test_an_integral_leaves_every_name_to_the_coordinates(name):
    condition = Integral("mass", {name: (0.0, 2.0)}, lambda x, u, xp: u["u"] * x[name], 1.0, nodes=4)
    points = condition.sample(4, (name,), np.asarray([[0.0], [2.0]]), np.random.default_rng(0))
    targets = condition.targets({name: points[:, 0]})
    assert condition.residuals({"u": np.ones(4)}, targets, np) == pytest.approx([1.0])
