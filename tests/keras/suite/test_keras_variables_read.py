"""What residuals and conditions read is trained, wherever it is held, and gets its gradient on every path."""

from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, mlp
from repeats import further, repeated

from phasecore import InputError
from phasecore.problems import Condition, Prescribed, Preset, Problem
from phasecore_keras import PINN, PhysicsLoss
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.tangents import Tangents

RATE = 0.01
GLOBAL = keras.Variable(0.7, name="of_the_module")


class Start(Condition):
    """u(0) = level."""

    term = "initial"
    partials = ("u",)

    def __init__(self, level):
        self.level = level

    def sample(self, count, coordinates, bounds, generator):
        return np.zeros((count, 1))

    def residuals(self, partials, targets, xp):
        return partials["u"] - self.level


class Everywhere(Problem):
    """An equation whose coefficients are held in each way that there is."""

    name = "everywhere"
    coordinates = ("t",)
    outputs = ("u",)
    equations = {"ode": ("u", "u_t", "u_tt")}  # noqa: RUF012
    grid = (5,)
    reference_accuracy = "none"
    presets = {"quick": Preset(points=8, width=4, depth=1, iterations=5)}  # noqa: RUF012

    def __init__(self):
        GLOBAL.assign(0.7)
        self.attribute = keras.Variable(0.3, name="attribute")
        self.listed = [keras.Variable([0.2, 0.4], name="listed")]
        self.fixed = keras.Variable(1.5, name="fixed", trainable=False)
        self.level = keras.Variable(0.9, name="level")
        self.network = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="field")])
        closed_over = keras.Variable(0.6, name="closed_over")
        closed_over.regularizer = keras.regularizers.L2(0.5)
        self.closure = lambda u: closed_over * u
        self.closed_over = lambda: closed_over

    @property
    def domain(self):
        return {"t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [Start(self.level)]

    def held(self):
        own = [self.attribute, *self.listed, self.level, self.closed_over(), GLOBAL]
        return [*own, *self.network.trainable_variables]

    def residuals(self, coordinates, partials, xp):
        u, u_t, u_tt = (partials[name] for name in self.equations["ode"])
        field_at = self.network(ops.expand_dims(coordinates["t"], 1))[:, 0]
        linear = u_tt * self.attribute + u_t * GLOBAL + self.closure(u) + field_at
        return {"ode": linear + self.listed[0][0] * u * u + self.listed[0][1] * self.fixed}

    def reference(self, points):
        return {"u": np.zeros(len(points))}


def made(derivatives="jets", weighting="uniform", optimizer=None, problem=None, network=None, **options):
    model = PINN(network or mlp(1, width=4, depth=1), problem or Everywhere(), weighting, derivatives=derivatives)
    model.compile(optimizer=optimizer or keras.optimizers.SGD(RATE), **options)
    return model, model.points(8, seed=0)


def by_differences(model, variable, step=1e-2):
    """The loss's gradient, by central differences of its value."""
    value = to_numpy(variable.value).copy()
    gradient = np.zeros_like(value)

    def loss_at(other):
        variable.assign(other)
        evaluation = model.physics.evaluate(ops.convert_to_tensor(model.physics.points))
        return float(sum(to_numpy(part) for part in evaluation.weighted.values()) + to_numpy(model.physics.penalty()))

    for place in np.ndindex(value.shape):
        shift = np.zeros_like(value)
        shift[place] = step
        gradient[place] = (loss_at(value + shift) - loss_at(value - shift)) / (2 * step)
    variable.assign(value)
    return gradient


def assert_a_step_follows_the_gradients(model, points, variables):
    """A step of gradient descent moves each variable by the rate times its gradient."""
    expected = [by_differences(model, variable) for variable in variables]
    before = [to_numpy(variable.value).copy() for variable in variables]
    model.train_on_batch(points)
    for variable, value, gradient in zip(variables, before, expected, strict=True):
        moved = (value - to_numpy(variable.value)) / RATE
        assert np.abs(gradient).max() > 5e-3, variable.path
        np.testing.assert_allclose(moved, gradient, rtol=1e-2, atol=1e-3, err_msg=variable.path)


@pytest.mark.parametrize(
    ("derivatives", "eagerly"), [("jets", False), *further(("jets", True), ("autodiff", False), ("autodiff", True))]
)
def test_what_is_read_is_trained_wherever_it_is_held(derivatives, eagerly):
    model, points = made(derivatives, **({"run_eagerly": True} if eagerly else {}))
    held = model.problem.held()
    assert {id(variable) for variable in held} <= {id(variable) for variable in model.trainable_variables}
    for _ in range(2):  # the second step must not see gradients of the first
        assert_a_step_follows_the_gradients(model, points, held)
    assert float(to_numpy(model.problem.fixed.value)) == 1.5


@pytest.mark.parametrize("derivatives", ["jets", *further("autodiff")])
def test_gradients_of_terms_know_what_is_read(derivatives):
    model, _ = made(derivatives)
    problem, physics = model.problem, model.physics
    problem.closed_over().regularizer = None
    gradients = Tangents(physics).term_gradients(["ode"], ["initial"])
    for variable in problem.held():
        summed = sum(to_numpy(own[variable.path]) for own in gradients.values())
        np.testing.assert_allclose(summed, by_differences(model, variable), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("weighting", ["grad_norm:every=2", *further("rba")])
def test_fit_trains_what_is_read_under_every_way_of_weighting(weighting):
    model, points = made(weighting=weighting, optimizer=keras.optimizers.Adam(0.05))
    before = [to_numpy(v.value).copy() for v in model.problem.held()]
    model.fit(points, epochs=3, verbose=0)
    for variable, value in zip(model.problem.held(), before, strict=True):
        assert np.abs(to_numpy(variable.value) - value).max() > 0, variable.path


def test_a_value_assigned_to_what_is_not_trained_is_seen_by_what_was_compiled():
    model, points = made(optimizer=keras.optimizers.SGD(0.0))
    losses = []
    for value in (1.5, 30.0):
        model.problem.fixed.assign(value)
        trained = model.train_on_batch(points, return_dict=True)["loss"]
        losses.append([float(trained), model.evaluate(points, verbose=0, return_dict=True)["loss"]])
    assert losses[1][0] > 10 * losses[0][0]
    np.testing.assert_allclose([pair[0] for pair in losses], [pair[1] for pair in losses], rtol=1e-5)


@repeated
def test_frozen_thawed_and_added_in_mid_training():
    """After each change and a new compile, a step moves what is trained then, by its gradient, and nothing else."""
    network = keras.Sequential([keras.Input((1,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    model, points = made(network=network)
    problem, first = model.problem, network.layers[0]

    def step(*moving, still=()):
        model.compile(optimizer=keras.optimizers.SGD(RATE))
        kept = [to_numpy(v.value).copy() for v in still]
        assert_a_step_follows_the_gradients(model, points, moving)
        for variable, value in zip(still, kept, strict=True):
            np.testing.assert_array_equal(to_numpy(variable.value), value)

    step(first.bias, problem.attribute)
    first.trainable, problem.attribute.trainable = False, False
    step(problem.level, still=(first.kernel, first.bias, problem.attribute))
    first.trainable, problem.attribute.trainable = True, True
    step(first.bias, problem.attribute)
    problem.level = keras.Variable(0.1, name="level_of_another_kind")
    step(problem.level, problem.attribute)


def test_a_network_that_reads_a_variable_from_elsewhere():
    scale = keras.Variable(1.2, name="scale")
    network = keras.Sequential([keras.Input((1,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    inputs = keras.Input((1,))
    network = keras.Model(inputs, layers.Lambda(lambda x: ops.tanh(x * scale))(network(inputs)))
    model, points = made(network=network)
    assert_a_step_follows_the_gradients(model, points, [scale])


@dataclass(frozen=True)
class Growth(Problem):
    """u_t = rate u."""

    rate: object = field(default_factory=lambda: keras.Variable(0.5))

    name = "growth"
    coordinates = ("t",)
    outputs = ("u",)
    equations = {"ode": ("u", "u_t")}  # noqa: RUF012
    grid = (5,)
    reference_accuracy = "none"
    presets = {"quick": Preset(points=8, width=4, depth=1, iterations=5)}  # noqa: RUF012

    @property
    def domain(self):
        return {"t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [Prescribed("initial", ("t", 0.0), {"u": 1.0})]

    def residuals(self, coordinates, partials, xp):
        return {"ode": partials["u_t"] - self.rate * partials["u"]}

    def reference(self, points):
        return {"u": np.zeros(len(points))}


class Factored(Growth):
    """The same, with the rate as a factor of an operator."""

    name = "factored"
    equations = {"ode": ("u_t - 2*rate*u + 0.5*u_tt",)}  # noqa: RUF012

    def residuals(self, coordinates, partials, xp):
        return {"ode": partials["u_t - 2*rate*u + 0.5*u_tt"]}


@pytest.mark.parametrize(
    ("derivatives", "shape"), [("autodiff", ()), *further(("jets", ()), ("jets", (1,)), ("autodiff", (1,)))]
)
def test_a_factor_of_an_operator_is_trained(derivatives, shape):
    problem = Factored(keras.Variable(np.full(shape, 0.5)))
    model, points = made(derivatives, problem=problem)
    assert_a_step_follows_the_gradients(model, points, [problem.rate])
    problem.rate.assign(np.full(shape, 2.0))
    assert_a_step_follows_the_gradients(model, points, [problem.rate, model.network.layers[0].bias])


@repeated
def test_a_saved_pinn_goes_on_with_what_its_problem_holds(tmp_path):
    model, points = made(problem=Growth(), optimizer=keras.optimizers.Adam(0.05))
    model.fit(points, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Growth": Growth})
    assert again.problem.rate is not model.problem.rate
    np.testing.assert_array_equal(to_numpy(again.problem.rate.value), to_numpy(model.problem.rate.value))
    more = [m.fit(points, epochs=3, shuffle=False, verbose=0).history["loss"] for m in (model, again)]
    np.testing.assert_allclose(*more, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(again.problem.rate.value), to_numpy(model.problem.rate.value), rtol=1e-5)
    model.save_weights(tmp_path / "own.weights.h5")
    other, _ = made(problem=Growth(), optimizer=keras.optimizers.Adam(0.05))
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(to_numpy(other.problem.rate.value), to_numpy(model.problem.rate.value))


@pytest.mark.any_backend
def test_two_pinns_share_what_their_problems_share():
    rate = keras.Variable(0.5)
    models = [made(problem=Growth(rate))[0] for _ in range(2)]
    for model in models:
        assert sum(variable is rate for variable in model.trainable_variables) == 1


def test_what_cannot_be_trained_is_refused_at_set_up():
    if BACKEND != "torch":  # torch itself has no such variables
        with pytest.raises(InputError, match="a trainable variable of dtype int32"):
            PhysicsLoss(Growth(keras.Variable(2, dtype="int32")), mlp(1))
    level = keras.Variable(1.0, name="level")

    class Prescribing(Growth):
        @property
        def conditions(self):
            return [Prescribed("initial", ("t", 0.0), {"u": lambda at: float(to_numpy(level.value)) + 0 * at["t"]})]

    with pytest.raises(InputError, match="values computed from variable 'level'"):
        PhysicsLoss(Prescribing(), mlp(1))
