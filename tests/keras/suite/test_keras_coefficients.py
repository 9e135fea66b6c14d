"""Trained coefficients in Keras: gradients, rates of their own, saved models, captures and resumed runs."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from repeats import further, repeated

import phasecore
from phasecore.errors import InputError
from phasecore.problems import Burgers, Helmholtz, Prescribed, Preset, Problem, ResidualCondition, Trained, trained
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore_keras import PINN, Capture, PhaseMonitor
from phasecore_keras.autodiff import autodiff, to_numpy
from phasecore_keras.optimizers import adam_learning_rates, adam_moments

INITIAL = {"conductivity": 0.3, "loss": 0.5, "exchange": 1.0}


@dataclasses.dataclass(frozen=True)
class Exchange(Prescribed):
    coefficient: Any = 1.0

    @property
    def partials(self):
        return ("u", "u_x")

    def residuals(self, partials, targets, xp):
        return partials["u_x"] + self.coefficient * partials["u"]


@dataclasses.dataclass(frozen=True)
class Rod(Problem):
    """u_t - conductivity u_xx + loss u^3 = 0, with heat exchanged at one end: a coefficient in each place there is."""

    conductivity: Any = 0.3
    loss: Any = 0.5
    exchange: Any = 1.0

    name = "rod"
    coordinates = ("x", "t")
    outputs = ("u",)
    equations = {"pde": ("u", "2*u_t - conductivity*u_xx + 0.5*u_x")}  # noqa: RUF012
    grid = (3, 3)
    reference_accuracy = "none"
    presets = {"quick": Preset(points=20, width=4, depth=1, iterations=10)}  # noqa: RUF012

    @property
    def domain(self):
        return {"x": (-1.0, 1.0), "t": (0.0, 1.0)}

    @property
    def conditions(self):
        return (
            Prescribed("initial", ("t", 0.0), {"u": lambda points: np.sin(np.pi * points["x"])}),
            Exchange("boundary", ("x", 1.0), {}, self.exchange),
        )

    def residuals(self, coordinates, partials, xp):
        u = partials["u"]
        return {"pde": partials["2*u_t - conductivity*u_xx + 0.5*u_x"] + self.loss * u * u * u}

    def reference(self, points):
        return {"u": np.ones(len(points))}


def rod(**options):
    return Rod(
        trained(0.3, positive=True, **options), trained(0.5, **options), trained(1.0, bounds=(0.2, 4.0), **options)
    )


def made(problem, optimizer=None, derivatives="auto", weighting="uniform"):
    keras.utils.set_random_seed(4)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)])
    model = PINN(network, problem, weighting, derivatives=derivatives)
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.01))
    return model, model.points(problem.sample(23, seed=1, condition_points=6))


def values_of(model):
    return {name: float(to_numpy(value)) for name, value in model.physics.coefficients().items()}


def loss_at(model, points, values):
    """The loss with other values of the coefficients, by a problem that is made of numbers."""
    numbers = PINN(model.network, dataclasses.replace(model.problem, **values), derivatives="autodiff")
    numbers.points(model.physics.collocation)
    evaluation = numbers.physics.evaluate(ops.convert_to_tensor(points["coordinates"]))
    return sum(float(to_numpy(value)) for value in evaluation.weighted.values())


@pytest.mark.parametrize("derivatives", ["autodiff", *further("jets")])
def test_the_gradient_is_that_of_finite_differences(derivatives):
    model, points = made(rod(), derivatives=derivatives)
    coefficients = model.physics.trained_coefficients
    variables = list(coefficients.free.values())
    coordinates = ops.convert_to_tensor(points["coordinates"])

    def total(_):
        return sum(model.physics.evaluate(coordinates).weighted.values()), {}

    _, gradients = autodiff().once(total, variables, model.network.variables, coordinates)
    for (name, own), gradient in zip(coefficients.trained.items(), gradients, strict=True):
        free, step = own.free(), 0.01
        above, below = (
            loss_at(model, points, {**INITIAL, name: float(own.value(np.float64(free + sign * step), np))})
            for sign in (1, -1)
        )
        assert float(to_numpy(gradient)) == pytest.approx((above - below) / (2 * step), rel=2e-3)


@pytest.mark.parametrize(
    ("derivatives", "rate"), [("jets", 0.05), *further(("jets", None), ("autodiff", 0.05), ("autodiff", None))]
)
def test_a_step_goes_against_the_gradient_at_its_own_rate(derivatives, rate):
    model, points = made(rod(learning_rate=rate), derivatives=derivatives)
    coefficients = model.physics.trained_coefficients
    before = {name: float(to_numpy(v.value)) for name, v in coefficients.free.items()}
    slopes = {}
    for name, own in coefficients.trained.items():
        high, low = (
            loss_at(model, points, {**INITIAL, name: float(own.value(np.float64(before[name] + s), np))})
            for s in (0.01, -0.01)
        )
        slopes[name] = (high - low) / 0.02
    kernel = to_numpy(model.network.layers[0].kernel.value).copy()
    model.fit(points, epochs=1, verbose=0)
    assert not np.array_equal(kernel, to_numpy(model.network.layers[0].kernel.value))
    for name, variable in coefficients.free.items():
        moved = before[name] - float(to_numpy(variable.value))
        assert moved == pytest.approx((rate or 0.01) * slopes[name], rel=2e-3)


@repeated
def test_a_rate_of_its_own_follows_the_schedule_and_is_applied_once():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5, staircase=True)
    model, points = made(Rod(conductivity=trained(0.3, learning_rate=0.1)), keras.optimizers.Adam(schedule))
    model.compile(optimizer=keras.optimizers.Adam(schedule))
    model.compile(optimizer=model.optimizer)
    seen = [values_of(model)["conductivity"]]
    for _ in range(2):
        model.fit(points, epochs=1, verbose=0)
        seen.append(values_of(model)["conductivity"])
    first, second = np.abs(np.diff(seen))
    assert first == pytest.approx(0.1, rel=1e-2)
    assert 0.02 < second < 0.06


OPTIMIZERS = {
    "averages": lambda rate: keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
    "average at the end": lambda rate: keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.5),
    "decay": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.5),
    "momentum": lambda rate: keras.optimizers.SGD(rate, 0.9, nesterov=True),
    "accumulation": lambda rate: keras.optimizers.Nadam(rate, gradient_accumulation_steps=2),
    "scaled loss": lambda rate: keras.optimizers.LossScaleOptimizer(keras.optimizers.Lamb(rate)),
    "scaled loss and averages": lambda rate: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.RMSprop(rate, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    ),
}


@pytest.mark.parametrize("made_by", ["averages", *further(*(name for name in OPTIMIZERS if name != "averages"))])
def test_a_rate_of_its_own_is_that_of_an_optimizer_that_has_it(made_by):
    """What else the optimizer does is done to the coefficient too: the network stands still here."""
    ends = []
    for rate, own in ((1e-2, None), (1e-3, 1e-2)):
        keras.utils.set_random_seed(4)
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)])
        network.trainable = False
        model = PINN(network, Burgers(trained(0.5, learning_rate=own), data_points=12))
        model.compile(optimizer=OPTIMIZERS[made_by](rate))
        model.fit(model.points(23, seed=1), epochs=8, verbose=0)
        ends.append(values_of(model)["viscosity"])
    assert ends[0] != pytest.approx(0.5, abs=1e-3)
    assert ends[1] == pytest.approx(ends[0], rel=1e-4)


class Stiff(Problem):
    """A coefficient whose rounding is larger than the steps of a network."""

    domain = {"x": (0.0, 1.0)}  # noqa: RUF012
    outputs = ("u",)
    modulus = trained(4000.0)

    def conditions(self):
        return [Prescribed("start", ("x", 0.0), {"u": 1.0})]

    def residuals(self, x, u, xp):
        return u["u_x"] - 1e-3 * self.modulus * u["u"]


BELOW_ROUNDING = {
    "Adam": keras.optimizers.Adam,
    "Adafactor": keras.optimizers.Adafactor,
    "Adamax": keras.optimizers.Adamax,
    "AMSGrad": lambda rate: keras.optimizers.Adam(rate, amsgrad=True),
    "Lamb": keras.optimizers.Lamb,
    "Lion": keras.optimizers.Lion,
    "Muon": keras.optimizers.Muon,
    "Nadam": keras.optimizers.Nadam,
    "RMSprop with momentum": lambda rate: keras.optimizers.RMSprop(rate, momentum=0.5),
    "decay": lambda rate: keras.optimizers.AdamW(rate, weight_decay=1e-3),
    "accumulation": lambda rate: keras.optimizers.Nadam(rate, gradient_accumulation_steps=2),
    "scaled loss": lambda rate: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(rate)),
}


@pytest.mark.parametrize("made_by", ["Adam", *further(*(name for name in BELOW_ROUNDING if name != "Adam"))])
def test_a_rate_of_its_own_is_exact_however_small_the_networks_is(made_by):
    """As is that of an optimizer that has it, where the network's steps would be lost in the coefficient's rounding."""
    ends = []
    for rate, own in ((0.5, None), (1e-5, 0.5)):
        keras.utils.set_random_seed(4)
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)])
        network.trainable = False
        model = PINN(network, Stiff(modulus=trained(4000.0, learning_rate=own)))
        model.compile(optimizer=BELOW_ROUNDING[made_by](rate))
        model.fit(model.points(23, seed=1), epochs=8, verbose=0)
        ends.append(values_of(model)["modulus"])
    assert abs(ends[0] - 4000.0) > 0.1
    assert ends[1] == pytest.approx(ends[0], rel=1e-6)


def excluding(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["loss"])
    return optimizer


BESIDE_OTHERS = {
    "one number of all variables": keras.optimizers.Nadam,
    "decay of the others": lambda rate: excluding(keras.optimizers.AdamW(rate, weight_decay=0.1)),
}


@pytest.mark.parametrize("made_by", ["one number of all variables", *further("decay of the others")])
def test_a_rate_of_its_own_leaves_the_steps_of_the_network_as_they_are(made_by):
    kernels = []
    for own in (None, 0.0123001):
        model, points = made(Rod(loss=trained(0.5, learning_rate=own)), BESIDE_OTHERS[made_by](0.0123))
        model.fit(points, epochs=4, verbose=0)
        kernels.append(to_numpy(model.network.layers[0].kernel.value))
        assert values_of(model)["loss"] != 0.5
    np.testing.assert_allclose(kernels[1], kernels[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["Adam", *further("Nadam")])
def test_the_learning_rates_of_adam_are_its_own(kind):
    model, points = made(Rod(0.3, trained(0.5, learning_rate=0.2), trained(1.0)), getattr(keras.optimizers, kind)(1e-3))
    model.fit(points, epochs=3, verbose=0)
    own = model.physics.trained_coefficients.free
    variables = {"loss": (own["loss"], 0.2), "exchange": (own["exchange"], 1e-3)}
    for variable, rate in (*variables.values(), (model.network.layers[0].kernel, 1e-3)):
        root = np.sqrt(adam_moments(model.optimizer, variable).second)
        expected = rate / (root + model.optimizer.epsilon)
        np.testing.assert_allclose(adam_learning_rates(model.optimizer, variable), expected, rtol=1e-5)


@pytest.mark.any_backend
def test_a_rate_of_its_own_is_set_against_the_rate_that_the_optimizer_began_with(tmp_path):
    """Not against what that has become by the time the model is compiled again, or loaded."""
    model, points = made(Burgers(trained(0.5, learning_rate=1e-2), data_points=12), keras.optimizers.Adam(1e-3))
    model.fit(points, epochs=2, verbose=0)
    model.optimizer.learning_rate = 1e-4
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.save(tmp_path / "again.keras")
    third = keras.saving.load_model(tmp_path / "again.keras")
    third.compile(optimizer=third.optimizer)
    moved = []
    for each in (model, again, third):
        before = values_of(each)["viscosity"]
        each.fit(points, epochs=1, verbose=0)
        moved.append(values_of(each)["viscosity"] - before)
    assert abs(moved[0]) == pytest.approx(1e-3, rel=0.1)
    assert moved[1:] == pytest.approx([moved[0]] * 2, rel=1e-3)


def test_a_schedule_that_warms_up_begins_where_it_has_warmed_up():
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=1e-3, warmup_steps=2)
    model, points = made(Rod(loss=trained(0.5, learning_rate=0.1)), keras.optimizers.Lion(schedule))
    seen = [0.5]
    for _ in range(3):
        model.fit(points, epochs=1, verbose=0)
        seen.append(values_of(model)["loss"])
    assert np.abs(np.diff(seen)) == pytest.approx([0.0, 0.05, 0.1], rel=1e-3)


def several():
    network, coefficient = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-2)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(network, {"loss": coefficient}))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: keras.optimizers.Adam(0.0), "begins with 0; expected a positive learning rate"),
        (
            lambda: keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(0.0, 10, 1e-3)),
            "learning_rate=0.1 of 'loss'.*begins with 0; .*warmup_target",
        ),
        (several, r"MultiOptimizer; .*OptimizerMap\(default, \{'loss': Adam"),
        (keras.optimizers.Ftrl, "Ftrl; expected one optimizer whose step may be multiplied"),
        (keras.optimizers.ScheduleFreeAdamW, "ScheduleFreeAdamW; .*take another optimizer"),
    ],
)
@pytest.mark.any_backend
def test_rates_that_an_optimizer_cannot_follow_are_refused(optimizer, message):
    with pytest.raises(InputError, match=message):
        made(Rod(loss=trained(0.5, learning_rate=0.1)), optimizer())


@pytest.mark.any_backend
def test_several_optimizers_train_a_coefficient_without_a_rate_of_its_own():
    model, points = made(Rod(loss=trained(0.5)), several())
    model.fit(points, epochs=1, verbose=0)
    assert abs(values_of(model)["loss"] - 0.5) == pytest.approx(1e-2, rel=1e-2)


@repeated
def test_bounds_hold_whatever_the_steps_are():
    model, points = made(rod(learning_rate=50.0), keras.optimizers.Adam(1e-3))
    for _ in range(4):
        model.fit(points, epochs=1, verbose=0)
        values = values_of(model)
        assert values["conductivity"] >= 0
        assert 0.2 <= values["exchange"] <= 4.0


@pytest.mark.any_backend
def test_a_saved_pinn_goes_on_alike(tmp_path):
    problem = Burgers(trained(0.1, positive=True, learning_rate=0.02), data_points=12)
    model, points = made(problem, keras.optimizers.Adam(1e-3), weighting="rba")
    model.fit(points, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.problem == problem
    assert values_of(again) == values_of(model) != {"viscosity": 0.1}
    for either in (model, again):
        either.fit(points, epochs=3, verbose=0)
    assert values_of(again) == pytest.approx(values_of(model), rel=1e-6)
    model.save_weights(tmp_path / "own.weights.h5")
    other, _ = made(problem, keras.optimizers.Adam(1e-3), weighting="rba")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "own.weights.h5")
    assert values_of(other) == values_of(model)


@pytest.mark.any_backend
def test_captures_have_a_column_of_each():
    model, points = made(rod(), keras.optimizers.Adam(1e-2))
    monitor = PhaseMonitor(every=2, batches=5)
    model.fit(points, epochs=6, verbose=0, callbacks=[monitor])
    rows = monitor.history
    assert {name: rows[0][f"coefficient_{name}"] for name in INITIAL} == pytest.approx(INITIAL, rel=1e-6)
    last = {name: rows[-1][f"coefficient_{name}"] for name in INITIAL}
    assert last == pytest.approx(values_of(model), rel=1e-6)
    assert all(last[name] != pytest.approx(INITIAL[name], rel=1e-6) for name in INITIAL)


@pytest.mark.any_backend
@pytest.mark.parametrize("biases", [False, True])
def test_the_gradient_statistics_are_those_of_the_network(biases):
    rows = []
    for problem in (rod(), Rod()):
        model, _ = made(problem)
        row = Capture(model, probes=["gradient_snr:per_layer=True"], batches=5, biases=biases).measure()
        rows.append({name: value for name, value in row.items() if not name.startswith("coefficient_")})
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


@pytest.mark.parametrize("bounds", [[0, 10], *further([-10, 0], [0.5, 4.0])])
def test_bounded_values_and_their_slopes_are_exact_near_the_bounds(bounds):
    low, high = bounds
    model, points = made(Rod(loss=trained((low + high) / 2, bounds=bounds)))
    coefficients = model.physics.trained_coefficients
    variable, coordinates = coefficients.free["loss"], ops.convert_to_tensor(points["coordinates"])
    for free in (-1000.0, -16.0, 0.0, 16.0):
        variable.assign(free)
        _, (slope,) = autodiff().once(
            lambda _: (coefficients.values()["loss"], {}), [variable], model.network.variables, coordinates
        )
        away = np.exp(-abs(float(np.float32(free))))
        distance = (high - low) * away / (1 + away)
        expected = low + distance if free < 0 else high - distance
        assert values_of(model)["loss"] == pytest.approx(expected, rel=1e-6)
        assert float(to_numpy(slope)) == pytest.approx(distance / (1 + away), rel=1e-6)


@pytest.mark.parametrize(("start", "count"), [(0.0, 1), *further((0.3, 0))])
@pytest.mark.filterwarnings("always")
def test_one_that_never_moves_is_told_once(start, count, recwarn):
    model, points = made(Helmholtz(k=trained(start)), keras.optimizers.Adam(1e-3))
    model.fit(points, epochs=110, verbose=0)
    assert (values_of(model)["k"] == start) == (start == 0)
    told = [str(item.message) for item in recwarn if "has not moved" in str(item.message)]
    assert len(told) == count
    assert all("gradient is zero" in message for message in told)


@pytest.mark.any_backend
def test_a_value_is_refused_by_whatever_a_class_raises():
    def check(self):
        if not self.modulus > 0:
            raise ValueError("modulus must be positive")

    model, _ = made_on_a_line(type("Refusing", (Stiff,), {"__post_init__": check})())
    model.physics.trained_coefficients.free["modulus"].assign(-1.0)
    with pytest.warns(UserWarning, match="'modulus' is out of range.*modulus must be positive"):
        model.physics.check_weights(1)


def made_on_a_line(problem):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model = PINN(network, problem)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    return model, model.points(20, seed=0)


@pytest.mark.any_backend
def test_numbers_of_numpy_are_saved(tmp_path):
    own = trained(np.float64(3.0), true=np.sqrt(4.0), learning_rate=np.float32(0.5))
    model, _ = made(phasecore.problem("burgers", viscosity=own))
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").problem.viscosity == own


class Exchanged(Problem):
    """A coefficient in a closure: the condition has it from the problem that it is asked of."""

    domain = {"x": (0.0, 1.0), "t": (0.0, 1.0)}  # noqa: RUF012
    outputs = ("u",)
    exchange = trained(0.5)

    def conditions(self):
        return [ResidualCondition("end", ("x", 1.0), lambda x, u, xp: u["u_x"] + self.exchange * u["u"])]

    def residuals(self, x, u, xp):
        return u["u_t"] - u["u_xx"]


@pytest.mark.any_backend
def test_a_run_trains_what_the_closure_of_a_condition_reads():
    options = {"points": 20, "width": 4, "depth": 1, "iterations": 3, "every": 3}
    rows = execute(prepare(Exchanged(), backend="keras", **options)).rows
    assert rows[0]["coefficient_exchange"] != rows[-1]["coefficient_exchange"]


@repeated
def test_mini_batches_train_them():
    model, points = made(rod(), keras.optimizers.Adam(1e-2))
    model.fit(points, epochs=2, batch_size=7, verbose=0)
    assert all(value != pytest.approx(INITIAL[name], rel=1e-5) for name, value in values_of(model).items())


def test_a_frozen_one_stays():
    model, points = made(rod())
    model.physics.trained_coefficients.free["loss"].trainable = False
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    model.fit(points, epochs=2, verbose=0)
    assert values_of(model)["loss"] == 0.5
    assert values_of(model)["conductivity"] != pytest.approx(0.3, rel=1e-6)


class Fixed(Rod):
    @property
    def conditions(self):
        return (Prescribed("initial", ("t", 0.0), {"u": lambda points: self.loss * points["x"]}),)


@pytest.mark.any_backend
def test_targets_that_depend_on_a_coefficient_are_refused():
    with pytest.raises(InputError, match=r"arithmetic with trained\(0.5\).*computed once"):
        made(Fixed(loss=trained(0.5)))


@repeated
@pytest.mark.usefixtures("compiled_by_default")
def test_a_run_is_resumed_as_if_it_had_not_stopped(tmp_path):
    text = "burgers:viscosity=trained(0.1,bounds=(0,1),learning_rate=0.02),data_points=12"
    options = {"points": 24, "width": 5, "depth": 1, "every": 5, "backend": "keras", "probes": ["term_losses"]}
    whole = execute(prepare(text, iterations=12, **options))
    execute(prepare(text, iterations=6, output=tmp_path / "run", **options))
    rest = execute(prepare_resumed(tmp_path / "run", iterations=12), resume=True)
    column = [[row["coefficient_viscosity"] for row in outcome.rows] for outcome in (whole, rest)]
    assert column[0] == column[1]
    assert len(set(column[0])) == len(column[0])


@pytest.mark.any_backend
def test_the_names_are_those_of_the_problem():
    model, _ = made(phasecore.problem("burgers", viscosity="trained(0.1)"))
    assert isinstance(model.problem.viscosity, Trained)
    assert [variable.name for variable in model.physics.held] == ["viscosity"]
