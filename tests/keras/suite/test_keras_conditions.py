"""Conditions of any residual, integrals and shapes in Keras: the loss of each term is that of the network's formula."""

# ruff: noqa: RUF012

import keras
import numpy as np
import pytest

import phasecore
from phasecore_keras import PINN, PhysicsLoss
from phasecore_keras.autodiff import to_numpy


def on_hole(at):
    return at["x"] ** 2 + at["y"] ** 2 < 0.25


class CooledPlate(phasecore.Problem):
    """A plate with a hole: Robin's condition with an unknown coefficient on the hole, radiation and a total amount."""

    domain = {("x", "y"): phasecore.Box((-1, -1), (1, 1)) - phasecore.Disk((0, 0), 0.4), "t": (0, 1)}
    outputs = ("u",)
    cooling = phasecore.trained(1.5, positive=True)

    def conditions(self):
        def robin(x, u, normal, xp):
            return u["u_x"] * normal["x"] + u["u_y"] * normal["y"] + self.cooling * u["u"] - xp.sin(x["t"])

        def radiation(x, u, xp):
            return u["u_x"] + u["u"] ** 4

        def amount(x, u, xp):
            return u["u"] * x["t"]

        return [
            phasecore.ResidualCondition("hole", on_hole, robin),
            phasecore.ResidualCondition("hot", ("x", 1.0), radiation),
            phasecore.Integral("amount", {"t": (0, 1)}, amount, lambda at: at["x"], nodes=4),
        ]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx + u_yy"]


def formula(layers):
    """The network tanh, linear in numpy: values, slopes and second slopes, each of shape (n, ...)."""
    (kernel, bias), (out, shift) = ([to_numpy(v.value).astype(np.float64) for v in one.variables] for one in layers)

    def evaluated(points):
        hidden = np.tanh(points @ kernel + bias)
        first = 1 - hidden**2
        value = hidden @ out[:, 0] + shift[0]
        slopes = (first * out[:, 0]) @ kernel.T
        second = (-2 * hidden * first * out[:, 0]) @ (kernel**2).T
        return value, slopes, second

    return evaluated


@pytest.fixture(scope="module")
def found():
    keras.utils.set_random_seed(3)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)])
    model = PINN(network, CooledPlate())
    points = CooledPlate().sample(40, seed=1, condition_points=24)
    coordinates = model.points(points)["coordinates"]
    evaluation = model.physics.evaluate(keras.ops.convert_to_tensor(coordinates))
    losses = {term: float(to_numpy(loss)) for term, loss in evaluation.unweighted.items()}
    return points, losses, formula(network.layers)


def test_a_robin_condition_on_the_hole_with_a_trained_coefficient(found):
    points, losses, evaluated = found
    hole = points.conditions[0]
    np.testing.assert_allclose(np.hypot(hole[:, 0], hole[:, 1]), 0.4, rtol=1e-9)
    value, slopes, _ = evaluated(hole)
    residual = (slopes[:, :2] * -hole[:, :2] / 0.4).sum(axis=1) + 1.5 * value - np.sin(hole[:, 2])
    assert losses["hole"] == pytest.approx(np.square(residual).mean(), rel=1e-4)


def test_a_condition_that_is_not_linear(found):
    points, losses, evaluated = found
    value, slopes, _ = evaluated(points.conditions[1])
    assert losses["hot"] == pytest.approx(np.square(slopes[:, 0] + value**4).mean(), rel=1e-4)


def test_an_integral_at_each_point_of_what_is_left(found):
    points, losses, evaluated = found
    nodes = points.conditions[2]
    value, _, _ = evaluated(nodes)
    weights = np.polynomial.legendre.leggauss(4)[1] / 2
    integrals = (value * nodes[:, 2]).reshape(-1, 4) @ weights
    assert losses["amount"] == pytest.approx(np.square(integrals - nodes[::4, 0]).mean(), rel=1e-4)


def test_the_equation_inside_the_shape(found):
    points, losses, evaluated = found
    assert np.hypot(*points.interior.T[:2]).min() > 0.4
    _, slopes, second = evaluated(points.interior)
    residual = slopes[:, 2] - second[:, 0] - second[:, 1]
    assert losses["pde"] == pytest.approx(np.square(residual).mean(), rel=1e-4)


class Noisy(phasecore.Problem):
    domain = {"x": (0, 1)}
    outputs = ("u",)

    def conditions(self):
        return [phasecore.Data("measured", np.asarray([[0.5]]), {"u": np.random.default_rng().normal(size=1)})]

    def residuals(self, x, u, xp):
        return u["u_x"]


@pytest.mark.any_backend
def test_a_loss_refuses_conditions_that_are_others_each_time():
    with pytest.raises(phasecore.InputError, match=r"conditions\(\): received another 'u' .* in term 'measured'"):
        PINN(keras.Sequential([keras.layers.Dense(1)]), Noisy())


class Rod(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


def dense():
    return keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.any_backend
def test_arguments_that_are_no_problem_or_exchanged_are_told():
    model = dense()
    for given, told in [((Rod, model), r"Write Rod\(\)"), ((model, Rod()), "Exchange"), (("wave", model), "'wave'")]:
        for make in (PhysicsLoss, lambda problem, model: PINN(model, problem)):
            with pytest.raises(phasecore.InputError, match=f"argument 'problem': .*{told}"):
                make(*given)


@pytest.mark.any_backend
def test_points_may_be_columns_by_name():
    given = {"t": np.zeros(3), "x": np.ones((3, 1))}
    loss = PhysicsLoss(Rod(), dense(), given)
    assert loss.points.tolist() == [[1.0, 0.0]] * 3
    loss.resample({"t": np.ones(2), "x": np.zeros(2)})
    assert loss.points.tolist() == [[0.0, 1.0]] * 2
    for wrong in ({"x": np.zeros(3)}, {"x": np.zeros(3), "t": np.zeros(1)}):
        with pytest.raises(phasecore.InputError, match="collocation points by name: received "):
            PhysicsLoss(Rod(), dense(), wrong)


@pytest.mark.parametrize("name", ["mod", "interp"])
def test_a_function_that_keras_lacks_is_answered_by_those_that_there_are(name):
    def residual(self, x, u, xp):
        return u["u_t"] * getattr(xp, name)(x["x"], *([0.5] if name == "mod" else [np.arange(2), np.arange(2)]))

    problem = type("Own", (Rod,), {"residuals": residual})()
    with pytest.raises(phasecore.PluginError, match=rf"problem 'own': residuals\(\): .*xp has no '{name}'; what every"):
        PhysicsLoss(problem, dense(), problem.sample(20))
