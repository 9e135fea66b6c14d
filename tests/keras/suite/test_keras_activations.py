import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import mlp, pinn
from repeats import further, repeated

import phasecore
from phasecore.signals import ACTIVATIONS
from phasecore_keras import PINN, Capture
from phasecore_keras.activations import HiddenActivations
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.internals import USED
from phasecore_keras.points import Batches
from phasecore_keras.sources import CustomSource, PhysicsSource


def activations_of(source):
    source.prepare(frozenset({ACTIVATIONS}))
    return source.signals(frozenset({ACTIVATIONS}))[ACTIVATIONS]


def by_hand(network, points, function=np.tanh):
    values, found = points.astype(np.float64), []
    for layer in network.layers[:-1]:
        values = function(values @ to_numpy(layer.kernel.value) + to_numpy(layer.bias.value))
        found.append(values)
    return found


def test_the_hidden_layers_of_a_pinn_in_their_order():
    model, points = pinn(depth=3)
    found = activations_of(PhysicsSource(model, dict(enumerate(model.trainable_variables)), 5))
    assert list(found) == ["layer0", "layer1", "layer2"]
    for one, other in zip(found.values(), by_hand(model.network, points["coordinates"]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(4), layers.Dense(5, activation="sigmoid")

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 4))

    def call(self, x):
        return self.second(ops.sin(self.first(x)))


def functional():
    x = keras.Input((2,))
    h = layers.Activation("silu")(layers.Dense(4)(x))
    h = layers.Add()([ops.tanh(layers.Dense(4)(h)), h])
    return keras.Model(x, layers.Dense(1)(h))


SHAPES = {
    "activation layers": (
        lambda: keras.Sequential([layers.Dense(3), layers.LeakyReLU(), layers.Dropout(0.5), layers.Dense(1)]),
        [3],
    ),
    "functional": (functional, [4, 4]),
    "nested": (lambda: keras.Sequential([mlp(2, 6, depth=1), layers.Activation("tanh"), layers.Dense(1)]), [8, 6]),
    "own layer": (lambda: keras.Sequential([Block(), layers.Dense(1)]), [4, 5]),
    "output activation": (lambda: keras.Sequential([layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")]), [3]),
    "embedding": (
        lambda: keras.Sequential([layers.Lambda(ops.sin), layers.Dense(3, "tanh"), layers.Dense(1)]),
        [3],
    ),
    "linear": (lambda: keras.Sequential([layers.Dense(3), layers.Dense(1)]), []),
}


FIRST = ("functional", "own layer")


@pytest.mark.parametrize("shape", [*FIRST, *further(*(shape for shape in SHAPES if shape not in FIRST))])
def test_models_of_any_form(shape):
    make, widths = SHAPES[shape]
    model = make()
    x = ops.convert_to_tensor(np.ones((5, 2), "float32"))
    model(x)
    assert [values.shape[1] for values in HiddenActivations(model)(x)] == widths


@pytest.mark.any_backend
def test_a_model_whose_activations_are_not_found_does_not_supply_them():
    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(2, 1), name="kernel")

        def call(self, x):
            return ops.matmul(x, self.kernel)

    problem = phasecore.problem("burgers")
    model = PINN(Own(), problem)
    model.compile(optimizer="adam")
    model.points(20)
    assert ACTIVATIONS not in PhysicsSource(model, dict(enumerate(model.trainable_variables)), 5).supplies
    with pytest.raises(phasecore.InputError, match="requires signal 'activations'"):
        Capture(model, probes=["saturation"], batches=5)


@repeated
def test_ordinary_networks_have_activations_too():
    model = mlp(3, 2)
    model.compile(optimizer="sgd", loss="mse")
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.zeros((50, 2))
    found = activations_of(CustomSource(model, dict(enumerate(model.trainable_variables)), Batches((x, y), 7), None))
    for one, other in zip(found.values(), by_hand(model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attribute", USED)
def test_keras_still_has_what_the_adapter_reads_of_its_private_parts(attribute):
    purpose, owner = USED[attribute]
    assert hasattr(owner(), attribute), (
        f"Keras {keras.__version__} has no {attribute!r} any more, which phasecore_keras.internals reads for {purpose}"
    )
