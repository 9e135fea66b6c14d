"""After any change of points, weights, network or problem a PINN does what a fresh one with the same variables does."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import mlp
from repeats import COMPILES, further, repeated

from phasecore import InputError
from phasecore.problems import Preset, Problem
from phasecore.problems.conditions import Prescribed
from phasecore_keras import PINN
from phasecore_keras.autodiff import to_numpy

SHORT = ("evaluate", "train_on_batch", "predict")
"""One way for each compiled function."""


class Material:
    def __init__(self):
        self.rate = 2.0


class Decay(Problem):
    """u_t + rate u = 0."""

    name = "decay"
    coordinates = ("t", "x")
    outputs = ("u",)
    equations = {"ode": ("u", "u_t")}  # noqa: RUF012
    grid = (5,)
    reference_accuracy = "none"
    presets = {"quick": Preset(points=8, width=4, depth=1, iterations=5)}  # noqa: RUF012

    def __init__(self):
        self.material = Material()
        self.start = 1.0

    @property
    def domain(self):
        return {"t": (0.0, 1.0), "x": (0.0, 1.0)}

    @property
    def conditions(self):
        return [Prescribed("initial", ("t", 0.0), {"u": lambda at: self.start * np.cos(at["x"])})]

    def residuals(self, coordinates, partials, xp):
        return {"ode": partials["u_t"] + self.material.rate * partials["u"]}

    def reference(self, points):
        return {"u": np.zeros(len(points))}


class Switched(layers.Layer):
    """A layer whose `call` reads what it holds."""

    def __init__(self):
        super().__init__()
        self.flag, self.options = False, {"factors": [1.0, 2.0]}
        self.table = np.ones(4, "float32")
        self.calls = 0

    def call(self, x):
        self.calls += 1
        x = ops.sin(x) if self.flag else x
        return x * self.options["factors"][0] * ops.convert_to_tensor(self.table)


def used(weighting="rba", derivatives="auto", ways=SHORT):
    """A PINN whose functions are compiled and whose network does not move."""
    network = keras.Sequential([keras.Input((2,)), layers.Dense(4, activation="tanh"), Switched(), layers.Dense(1)])
    model = PINN(network, Decay(), weighting, derivatives=derivatives)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    points = model.points(20, seed=0)
    for name in ways:
        WAYS[name](model, points)
    return model, points


WAYS = {
    "evaluate": lambda model, points: model.evaluate(points, verbose=0),
    "fit": lambda model, points: model.fit(points, epochs=1, verbose=0).history["loss"],
    "train_on_batch": lambda model, points: model.train_on_batch(points)[:1],
    "test_on_batch": lambda model, points: model.test_on_batch(points)[:1],
    "predict": lambda model, points: model.predict(points, verbose=0),
    "predict_on_batch": lambda model, points: to_numpy(ops.convert_to_tensor(model.predict_on_batch(points))),
}


def assert_like_a_fresh_one(model, points, what, ways=SHORT):
    fresh = PINN(model.network, model.problem, model.specification)
    fresh.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    fresh.points(model.physics.collocation)
    for mine, theirs in zip(fresh.weighting.variables, model.weighting.variables, strict=True):
        mine.assign(to_numpy(theirs.value))
    if model.optimizer.built:
        fresh.optimizer.build(fresh.trainable_variables)
        fresh.optimizer.iterations.assign(to_numpy(model.optimizer.iterations.value))
    for name in ways:
        way = WAYS[name]
        if name == "train_on_batch":
            model.reset_metrics()
        np.testing.assert_allclose(
            way(model, points), way(fresh, points), rtol=1e-4, atol=1e-6, err_msg=f"{what}: {name}"
        )
    mine, theirs = model.weighting.current(), fresh.weighting.current()
    assert mine.keys() == theirs.keys()
    for key, weight in mine.items():
        np.testing.assert_allclose(to_numpy(weight), to_numpy(theirs[key]), rtol=1e-4, atol=1e-7, err_msg=what)


OTHER_POINTS = {
    "another seed": lambda model: model.points(20, seed=7),
    "another number": lambda model: model.points(33, seed=0),
    "fewer points of conditions": lambda model: model.points(33, seed=0, condition_points=3),
    "points of one's own": lambda model: model.points(np.random.default_rng(1).uniform(size=(20, 2))),
}


@pytest.mark.parametrize(
    ("weighting", "changes"),
    [
        *([("rba", ["another number"])] if COMPILES else []),
        *further(("rba", list(OTHER_POINTS)), ("grad_norm:every=1", ["another number"])),
    ],
)
def test_after_other_points(weighting, changes, tmp_path):
    model, points = used(weighting)
    model.save_weights(tmp_path / "before.weights.h5")
    for what in changes:
        change = OTHER_POINTS[what]
        points = change(model)
        assert_like_a_fresh_one(model, points, what, WAYS if what == "another number" and not COMPILES else SHORT)
    model.load_weights(tmp_path / "before.weights.h5")
    collocation = model.physics.points
    assert len(collocation) == 20
    points = {"coordinates": collocation.copy(), "indices": np.arange(20, dtype=np.int32)}
    assert_like_a_fresh_one(model, points, "load_weights")


def test_new_points_of_the_same_number_compile_nothing_anew():
    model, _ = used()
    functions = model.train_function, model.test_function
    points = model.points(20, seed=3)
    model.fit(points, epochs=1, verbose=0)
    model.evaluate(points, verbose=0)
    assert (model.train_function, model.test_function) == functions


@repeated
def test_use_alone_is_no_change():
    model, points = used()
    functions = model.train_function, model.test_function, model.predict_function
    for way in WAYS.values():
        way(model, points)
    assert (model.train_function, model.test_function, model.predict_function) == functions


def set_activation(model):
    model.network.layers[0].activation = keras.activations.sigmoid


def set_flag(model):
    model.network.layers[1].flag = True


def set_within_containers(model):
    model.network.layers[1].options["factors"][0] = 3.0


def write_into_an_array(model):
    model.network.layers[1].table[2] = 5.0


def set_within_the_problem(model):
    model.problem.material.rate = 0.3


def set_the_conditions(model):
    model.problem.start = 2.0


def assign_the_weights(model):
    model.network.set_weights([1.1 * values + 0.1 for values in model.network.get_weights()])


def remove_and_add_layers(model):
    network = model.network
    network.pop()
    network.add(layers.Dense(3, activation="tanh"))
    network.add(layers.Dense(1))


CHANGES = [
    set_activation,
    set_flag,
    set_within_containers,
    write_into_an_array,
    set_within_the_problem,
    set_the_conditions,
    assign_the_weights,
    remove_and_add_layers,
]


@pytest.mark.parametrize(
    ("derivatives", "changes"),
    [
        *([("auto", [remove_and_add_layers])] if COMPILES else []),
        *further(("auto", CHANGES), ("autodiff", [set_flag])),
    ],
)
def test_after_a_change_of_network_or_problem(derivatives, changes):
    model, points = used(derivatives=derivatives)
    for change in changes:
        before = model.evaluate(points, verbose=0)
        change(model)
        if change is remove_and_add_layers:  # other variables need another optimizer
            model.compile(optimizer=keras.optimizers.SGD(0.0))
        assert_like_a_fresh_one(model, points, change.__name__)
        assert np.abs(np.subtract(model.evaluate(points, verbose=0), before)).max() > 1e-7, change.__name__


@repeated
def test_what_only_a_closure_holds_is_read_anew_by_compile():
    rate = [1.0]
    network = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x * rate[0]), *mlp(2).layers])
    model = PINN(network, Decay(), "rba")
    for value in (1.0, 3.0):
        rate[0] = value
        model.compile(optimizer=keras.optimizers.SGD(0.0))
        assert_like_a_fresh_one(model, model.points(20, seed=0), "compile")


def test_a_change_within_fit_counts_from_the_next_epoch():
    model, points = used("uniform")
    changed = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epoch == 0 and set_activation(model))
    losses = model.fit(points, epochs=3, verbose=0, callbacks=[changed]).history["loss"]
    assert losses[1] != pytest.approx(losses[0], rel=1e-4)
    assert losses[1:] == pytest.approx(model.fit(points, epochs=2, verbose=0).history["loss"], rel=1e-6)


@pytest.mark.any_backend
def test_adapters_of_low_rank_are_trained():
    model, points = used("uniform")
    layer = model.network.layers[2]
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(0.1 * np.ones(layer.lora_kernel_b.shape))
    assert_like_a_fresh = to_numpy(model(points["coordinates"]))
    np.testing.assert_allclose(model.predict(points, verbose=0), assert_like_a_fresh, rtol=1e-5)
    with pytest.raises(InputError, match="does not know"):
        model.fit(points, epochs=1, verbose=0)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    before = [to_numpy(v.value).copy() for v in (layer.lora_kernel_a, layer.lora_kernel_b, layer._kernel)]
    model.fit(points, epochs=1, verbose=0)
    moved = [np.abs(to_numpy(v.value) - b).max() for v, b in zip(
        (layer.lora_kernel_a, layer.lora_kernel_b, layer._kernel), before, strict=True)]  # fmt: skip
    assert moved[0] > 0
    assert moved[1] > 0
    assert moved[2] == 0


@repeated
@pytest.mark.filterwarnings("ignore::UserWarning")  # of layers without weights, and of autodiff in place of jets
def test_a_quantized_network_is_differentiated_as_it_is():
    model, points = used("uniform")
    model.quantize("int8")
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    assert_like_a_fresh_one(model, points, "quantize")


@repeated
def test_jets_and_autodiff_change_places_with_the_network():
    model, points = used("uniform")
    assert model.physics.method == "jets"
    model.network.layers[0].activation = keras.activations.relu
    with pytest.warns(UserWarning, match="nested autodiff is used instead"):
        model.renew()
    model.evaluate(points, verbose=0)
    assert model.physics.method == "autodiff"
    model.network.layers[0].activation = keras.activations.tanh
    model.evaluate(points, verbose=0)
    assert model.physics.method == "jets"
