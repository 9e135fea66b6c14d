import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import mlp
from repeats import further, repeated

from phasecore import InputError
from phasecore_keras import PartialDerivatives
from phasecore_keras.autodiff import to_numpy

NAMES = ["u", "u_x", "u_xx + u_yy", "u_xy"]
POINTS = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype("float32")


class Scaled(layers.Layer):
    """A layer of a user's own, with a layer and a variable in it."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(6)

    def build(self, shape):
        self.scale = self.add_weight(shape=(6,), initializer="ones")
        self.inner.build(shape)

    def call(self, x):
        return ops.sin(self.inner(x) * self.scale)


class Computed(layers.Layer):
    """A layer that computes with its variables before it meets its input."""

    def build(self, shape):
        self.rate = self.add_weight(shape=(2,), initializer="ones")

    def call(self, x):
        return x * ops.exp(self.rate)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Dense(8, activation="tanh"), layers.Dense(1)

    def call(self, x, training=None):
        return self.last(self.first(ops.concatenate([ops.sin(x), ops.cos(x), x[:, :1]], axis=-1)))


def approximate_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def functional():
    inputs = keras.Input((2,))
    x = layers.Rescaling(2.0, offset=0.1)(inputs)
    shared = layers.Dense(8, activation="tanh")
    x = layers.Dense(8)(x)
    x = shared(shared(x))
    x = layers.Add()([x, layers.Dense(8, activation="silu")(x)])
    x = layers.Concatenate()([x, ops.sin(2.0 * x)])
    x = layers.Multiply()([x, layers.Dense(16, activation="sigmoid")(x)])
    x = layers.Subtract()([x, 0.5 * x])
    nested = keras.Sequential([layers.Dense(4), layers.Activation("softplus"), layers.Dense(1)])
    hard_constraint = (1.0 - inputs[:, :1] ** 2) / (2.0 + inputs[:, 1:])
    return keras.Model(inputs, hard_constraint * nested(x))


def normalized():
    layer = layers.Normalization()
    layer.adapt(POINTS)
    return keras.Sequential([layer, layers.Dense(8, activation="gelu"), layers.Dropout(0.5), layers.Dense(1)])


READ = {
    "sequential": mlp,
    "gelu": lambda: keras.Sequential([layers.Dense(8, activation=approximate_gelu), layers.Dense(1)]),
    "functional": functional,
    "custom layer": lambda: keras.Sequential([Scaled(), layers.Dense(1)]),
    "computed": lambda: keras.Sequential([Computed(), layers.Dense(8, activation="exponential"), layers.Dense(1)]),
    "subclassed": Subclassed,
    "lambda": lambda: keras.Sequential([layers.Lambda(lambda x: ops.sin(3 * x)), mlp()]),
    "normalized": normalized,
    "einsum": lambda: keras.Sequential([layers.EinsumDense("ab,bc->ac", 8, activation="tanh"), layers.Dense(1)]),
}


def evaluate(model, method, names=NAMES):
    derivatives = PartialDerivatives(model, ["u"], ["x", "y"], names, POINTS, method)
    return derivatives, {name: to_numpy(v) for name, v in derivatives(ops.convert_to_tensor(POINTS)).items()}


FIRST = ("sequential", "subclassed")


@pytest.mark.parametrize("style", [*FIRST, *further(*(style for style in READ if style not in FIRST))])
def test_jets_read_the_model_and_agree_with_autodiff(style):
    model = READ[style]()
    derivatives, by_jets = evaluate(model, "auto")
    assert derivatives.method == "jets"
    _, by_autodiff = evaluate(model, "autodiff")
    for name in NAMES:
        size = np.abs(by_autodiff[name]).max()
        np.testing.assert_allclose(by_jets[name], by_autodiff[name], rtol=2e-4, atol=2e-5 * size)


def test_closed_form():
    def wave(points):
        return ops.sin(2.0 * points[:, :1]) * ops.exp(points[:, 1:])

    x, y = POINTS.astype(np.float64).T
    _, found = evaluate(wave, "jets", ["u_xx + u_yy", "u_xxy"])
    np.testing.assert_allclose(found["u_xx + u_yy"], -3 * np.sin(2 * x) * np.exp(y), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["u_xxy"], -4 * np.sin(2 * x) * np.exp(y), rtol=1e-5, atol=1e-5)


@repeated
def test_an_unknown_layer_falls_back_says_so_once_and_gives_the_same_numbers():
    model = keras.Sequential([layers.Dense(8, activation="tanh"), layers.GroupNormalization(groups=2), layers.Dense(1)])
    with pytest.warns(UserWarning, match="nested autodiff is used instead") as caught:
        derivatives, found = evaluate(model, "auto")
    assert len(caught) == 1
    assert derivatives.method == "autodiff"
    _, expected = evaluate(model, "autodiff")
    for name in NAMES:
        np.testing.assert_array_equal(found[name], expected[name])


def test_a_layer_that_leaves_keras_ops_falls_back():
    class Raw(layers.Layer):
        def call(self, x):
            return x * ops.convert_to_tensor(np.asarray(ops.shape(x)[1] * 1.0, "float32")) + ops.relu(x)

    with pytest.warns(UserWarning, match="do not know this model"):
        derivatives, _ = evaluate(keras.Sequential([Raw(), layers.Dense(1)]), "auto")
    assert derivatives.method == "autodiff"


@pytest.mark.any_backend
def test_jets_can_be_insisted_on():
    with pytest.raises(InputError, match="jets cannot read this model"):
        evaluate(keras.Sequential([layers.Dense(8, activation="relu"), layers.Dense(1)]), "jets")


def test_a_constant_model_has_zero_derivatives():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, found = evaluate(lambda points: ops.ones((points.shape[0], 1)), "auto")
    np.testing.assert_array_equal(found["u_x"], 0.0)


@pytest.mark.any_backend
def test_the_model_is_left_as_it_was():
    model = functional()
    before = [len(layer._inbound_nodes) for layer in model.layers]
    config, weights = model.get_config(), model.get_weights()
    evaluate(model, "auto")
    assert model.get_config() == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == before
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: mlp(inputs=3), "the model cannot be applied to points of shape"),
        (lambda: mlp(outputs=2), r"received shape \(16, 2\)"),
        (lambda: lambda points: points[:, 0], r"received shape \(16,\)"),
    ],
)
def test_models_that_do_not_fit(model, message):
    with pytest.raises(InputError, match=message):
        PartialDerivatives(model(), ["u"], ["x", "y"], NAMES, POINTS)


@pytest.mark.parametrize("policy", ["mixed_float16", *further("mixed_bfloat16")])
def test_mixed_precision_is_computed_as_keras_does(policy):
    model = mlp(dtype=policy)
    derivatives = PartialDerivatives(model, ["u"], ["x", "y"], ["u", "u_x"], POINTS, "jets")
    found = derivatives(ops.convert_to_tensor(POINTS))
    assert keras.backend.standardize_dtype(found["u_x"].dtype) == "float32"
    exact = mlp()
    exact.set_weights(model.get_weights())
    reference = PartialDerivatives(exact, ["u"], ["x", "y"], ["u", "u_x"], POINTS)(ops.convert_to_tensor(POINTS))
    assert np.abs(to_numpy(found["u_x"]) - to_numpy(reference["u_x"])).max() > 0
    np.testing.assert_allclose(to_numpy(found["u_x"]), to_numpy(reference["u_x"]), rtol=0.1, atol=0.05)
