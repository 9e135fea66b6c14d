"""Laws of every capture: it changes nothing, and what it says was measured."""

import random

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_models import BACKEND, mlp, pinn
from repeats import further, repeated

from phasecore import InputError
from phasecore.errors import PluginWarning
from phasecore.probes import Probe
from phasecore_keras import Capture
from phasecore_keras.autodiff import to_numpy

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
SEQUENCES = GENERATOR.normal(size=(24, 5, 2)).astype("float32")
SEQUENCES[:, 3:] = 0
WEIGHTS = GENERATOR.uniform(size=24).astype("float32")
STEP_WEIGHTS = GENERATOR.uniform(size=(24, 5)).astype("float32")


def masked():
    inputs = keras.Input((5, 2))
    hidden = layers.SimpleRNN(3, return_sequences=True)(layers.Masking()(inputs))
    model = keras.Model(inputs, layers.TimeDistributed(layers.Dense(1))(hidden))
    model.compile("sgd", "mse")
    return model, (SEQUENCES, SEQUENCES.sum(-1, keepdims=True), STEP_WEIGHTS)


def regularized():
    model = mlp(3, 1, width=4, kernel_regularizer="l2", bias_regularizer="l1", activity_regularizer="l2")
    model.compile("adam", "mae")
    return model, (X, Y, WEIGHTS)


def nested():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    hidden = layers.Dense(4, activation="tanh")(layers.Concatenate()([a, b]))
    outputs = {"one": layers.Dense(1, name="one")(hidden), "other": layers.Dense(2, name="other")(hidden)}
    model = keras.Model({"a": a, "b": b}, outputs)
    losses = {"one": "mse", "other": "mae"}
    model.compile("adam", losses, loss_weights={"one": 2.0, "other": 0.5}, metrics={"one": ["mae"]})
    targets = {"one": Y, "other": X[:, :2]}
    return model, ({"a": X[:, :2], "b": X[:, 2:]}, targets, {"one": WEIGHTS, "other": WEIGHTS})


@keras.saving.register_keras_serializable("tests")
class Writing(layers.Layer):
    """Counts its calls in a variable of its own, draws random numbers, and adds a loss."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.noise = keras.random.SeedGenerator(1)

    def call(self, inputs, training=False):
        self.calls.assign_add(1.0)
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs + 0.0 * keras.random.normal(ops.shape(inputs), seed=self.noise)


def writing():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), Writing(), layers.Dense(1)])
    model.compile("adam", "mse", weighted_metrics=["mae"])
    return model, (X, Y, WEIGHTS)


KINDS = [nested, writing, *further(masked, regularized)]


@pytest.mark.parametrize("make", KINDS)
def test_the_measured_loss_is_that_of_evaluate_however_often(make):
    model, points = make()
    given = [array.copy() for array in keras.tree.flatten(points)]
    capture = Capture(model, points=points, batches=4)
    measured = [capture.measure()["training_loss"] for _ in range(4)]
    x, y, weights = points
    expected = model.evaluate(x, y, sample_weight=weights, batch_size=6, verbose=0, return_dict=True)["loss"]
    assert measured == pytest.approx([expected] * 4, rel=2e-6)
    assert len(set(measured)) == 1
    for before, after in zip(given, keras.tree.flatten(points), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.any_backend
def test_arrays_that_the_user_changes_after_the_set_up_change_nothing():
    model, _ = regularized()
    x = X.copy()
    capture = Capture(model, points=(x, Y), batches=4)
    before = capture.measure()
    x[:] = 7.0
    assert capture.measure() == before


def stochastic(optimizer):
    hidden = [layers.Dense(6, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.3), Writing()]
    model = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-3, use_ema=True, ema_overwrite_frequency=2),
    "accumulated": lambda: keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3)),
}


def hidden_network():
    """A network that no model tracks."""
    return keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.Dropout(0.2), Writing()])


def own_loss(model, aside):
    def loss(x, y):
        np.random.random(), random.random()  # noqa: NPY002
        return ops.mean(ops.square(model(aside(x, training=True), training=True) - y))

    return loss


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", "compiled loss"),
        ("scaled", "loss of its own"),
        *further(
            ("adam", "loss of its own"),
            ("scaled", "compiled loss"),
            ("accumulated", "compiled loss"),
            ("accumulated", "loss of its own"),
        ),
    ],
)
def test_a_capture_changes_nothing(name, kind):
    model, aside, counter = stochastic(OPTIMIZERS[name]()), hidden_network(), keras.metrics.Mean()
    counter.update_state(3.0)
    model.fit(X, Y, epochs=1, batch_size=8, verbose=0)
    loss = own_loss(model, aside) if kind == "loss of its own" else None

    def state():
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        return [to_numpy(v.value) for v in [*variables, *aside.variables, *counter.variables]], *draws()

    def draws():
        """What the global generators would give next."""
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        found = random.random(), np.random.random()  # noqa: NPY002
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        return found

    before = [np.copy(values) for values in state()[0]], draws()
    capture = Capture(model, loss=loss, points=(X, Y), batches=4)
    rows = [capture.measure() for _ in range(2)]
    assert rows[0] == rows[1]
    values, *drawn = state()
    assert tuple(drawn) == before[1]
    for one, other in zip(before[0], values, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(BACKEND == "jax", reason="arrays of JAX cannot be written into")
def test_state_that_is_not_of_keras_is_left_alone_too():
    model = mlp(3, 1)
    model.compile("sgd", "mse")
    if BACKEND == "torch":
        import torch

        norm = torch.nn.BatchNorm1d(3)
        state = lambda: [norm.running_mean.clone(), norm.num_batches_tracked.clone()]  # noqa: E731
        before, generator = state(), torch.random.get_rng_state()
    else:
        import tensorflow as tf

        calls = tf.Variable(0.0)
        state = lambda: [calls.numpy()]  # noqa: E731

        def norm(x):
            calls.assign_add(1.0)
            return x * tf.minimum(calls, 1.0)

        norm(X)
        before = state()
    capture = Capture(model, loss=lambda x, y: ops.mean(ops.square(model(norm(x)) - y)), points=(X, Y), batches=4)
    before = before if BACKEND == "torch" else state()
    capture.measure()
    for one, other in zip(before, state(), strict=True):
        np.testing.assert_array_equal(one, other)
    if BACKEND == "torch":
        assert torch.equal(generator, torch.random.get_rng_state())


class Writer(Probe):
    """Writes into what it is handed."""

    name = "writer"

    def __init__(self, signal):
        self.requires = frozenset({signal})

    def measure(self, signals):
        values = signals[next(iter(self.requires))]
        array = next(iter(values.values())) if isinstance(values, dict) else values
        array *= 0.0
        return {"written": 1.0}


@pytest.mark.parametrize(
    "signal",
    ["point_weights", *further("coordinates", "domain", "residual_attention", "reference_fields")],
)
def test_a_probe_cannot_write_into_what_is_trained(signal):
    model, points = pinn("rba")
    model.fit(points, epochs=2, verbose=0)
    with pytest.warns(PluginWarning, match="'writer'.*read-only"):
        row = Capture(model, probes=[Writer(signal)], batches=4).measure()
    assert "written" not in row


def constant_gradients(optimizer):
    """A model whose gradient is the mean of a batch's inputs, whatever its weights are; not compiled, to be quick."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.compile(optimizer, loss=lambda y, prediction: prediction, run_eagerly=True)
    return model


def steps(model, batches):
    """Make the steps of `fit` on the batches, without its compiling; return their gradients."""
    optimizer, variables = model.optimizer, model.trainable_variables
    optimizer.build(variables)
    gradients = [block.mean(axis=0) for block in np.split(X, batches)]
    for gradient in gradients:
        scaled = optimizer.scale_loss(ops.convert_to_tensor(gradient.reshape(3, 1)))
        if BACKEND != "jax":
            optimizer.apply([scaled], variables)
            continue
        kept = optimizer.variables
        trained, kept_values = optimizer.stateless_apply(
            [v.value for v in kept], [scaled], [v.value for v in variables]
        )
        for variable, value in zip([*variables, *kept], [*trained, *kept_values], strict=True):
            variable.assign(value)
    return [gradient.astype(np.float64) for gradient in gradients]


def adam_snr(gradients, first=0.9, second=0.999):
    """Kingma and Ba's moments by their recursions, in float64."""
    m, v = 0.0, 0.0
    for gradient in gradients:
        m, v = first * m + (1 - first) * gradient, second * v + (1 - second) * gradient**2
    m, v = m / (1 - first ** len(gradients)), v / (1 - second ** len(gradients))
    return np.linalg.norm(m) / np.linalg.norm(np.sqrt(v) + 1e-8)


def own_adam():
    class Quiet(keras.optimizers.Adam):
        """Adam by another name."""

    return Quiet(1e-3, amsgrad=True)


def own_update():
    class Signed(keras.optimizers.Adam):
        """Adam's variables, used for something else."""

        def update_step(self, gradient, variable, learning_rate):
            place = self._get_variable_index(variable)
            self.assign(self._momentums[place], ops.sign(gradient))
            self.assign_sub(variable, learning_rate * ops.sign(gradient))

    return Signed(1e-3)


def every_optimizer():
    found = {}
    for name in dir(keras.optimizers):
        kind = getattr(keras.optimizers, name)
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer) and hasattr(kind, "update_step"):
            abstract = kind is keras.optimizers.Optimizer
            if not abstract and kind not in (keras.optimizers.LossScaleOptimizer, keras.optimizers.MultiOptimizer):
                found[name] = kind
    return found


ADAMS = {"Adam": 0.9, "AdamW": 0.9, "Nadam": 0.9, "Lamb": 0.9}


@repeated
@pytest.mark.parametrize("wrapped", ["plain", "scaled", "several"])
def test_adam_snr_is_that_of_adams_moments_or_absent(wrapped):
    optimizers = {name: (lambda kind=kind: kind(learning_rate=1e-3)) for name, kind in every_optimizer().items()}
    assert {"Adam", "Lion", "Adamax", "SGD", "Muon"} <= optimizers.keys()
    for name, make in {**optimizers, "own adam": own_adam, "own update": own_update}.items():
        optimizer = make()
        if wrapped == "scaled":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
        if wrapped == "several":
            optimizer = keras.optimizers.MultiOptimizer(lambda variable, chosen=optimizer: chosen)
        model = constant_gradients(optimizer)
        gradients = steps(model, 3)
        row = Capture(model, points=(X, Y), batches=3).measure()
        mean, deviation = np.linalg.norm(np.mean(gradients, 0)), np.linalg.norm(np.std(gradients, 0))
        assert row["gradient_mean_norm"] == pytest.approx(mean, rel=1e-5), name
        assert row["snr"] == pytest.approx(mean / deviation, rel=1e-4), name
        if name in {*ADAMS, "own adam"}:
            assert row["adam_snr"] == pytest.approx(adam_snr(gradients), rel=1e-4), name
        else:
            assert not [key for key in row if key.startswith("adam")], name
            with pytest.raises(InputError, match="'adam_snr' requires signal 'adam_moments'"):
                Capture(model, points=(X, Y), batches=3, probes=["adam_snr"])


RATES = {
    "Adam": lambda: keras.optimizers.Adam(2e-3, beta_1=0.8, beta_2=0.95, epsilon=1e-5),
    "AdamW": lambda: keras.optimizers.AdamW(2e-3, beta_1=0.8, beta_2=0.95, epsilon=1e-5, weight_decay=0.0),
    "Nadam": lambda: keras.optimizers.Nadam(2e-3, beta_1=0.8, beta_2=0.95, epsilon=1e-5),
    "AMSGrad": lambda: keras.optimizers.Adam(2e-3, beta_1=0.8, beta_2=0.95, epsilon=1e-5, amsgrad=True),
}


@pytest.mark.parametrize("kind", ["AMSGrad", *further("Adam", "AdamW", "Nadam")])
def test_adam_s_learning_rates_are_those_of_its_recursions(kind):
    """The root of the second moment, under AMSGrad of the largest so far, by its definition in float64."""
    optimizer = RATES[kind]()
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse")
    variables = model.trainable_variables
    capture = Capture(model, points=(X, Y), batches=3, probes=["adam_learning_rates"])
    assert capture.measure() == {}, "there are none before the first step"
    second = [np.zeros(tuple(v.shape)) for v in variables]
    largest = [np.zeros(tuple(v.shape)) for v in variables]
    for step in range(1, 6):
        # gradients that shrink, so that the largest second moment is an old one
        gradients = [np.full(tuple(v.shape), (place + 1.0) / step**3) for place, v in enumerate(variables)]
        optimizer.apply([ops.convert_to_tensor(g.astype("float32")) for g in gradients], variables)
        for place, gradient in enumerate(gradients):
            second[place] = 0.95 * second[place] + 0.05 * gradient**2
            largest[place] = np.maximum(largest[place], second[place])
    used = largest if kind == "AMSGrad" else second
    rates = [2e-3 / (np.sqrt(v / (1 - 0.95**5)) + 1e-5) for v in used]
    every = np.concatenate([own.ravel() for own in rates])
    row = capture.measure()
    assert row["adam_learning_rate_mean"] == pytest.approx(every.mean(), rel=1e-5)
    assert row["adam_learning_rate_variation"] == pytest.approx(every.std() / every.mean(), rel=1e-4)
    assert row["layer1_adam_learning_rate_mean"] == pytest.approx(rates[2].mean(), rel=1e-5)
    assert row.keys() == {
        f"{layer}adam_learning_rate_{what}" for layer in ("", "layer0_", "layer1_") for what in ("mean", "variation")
    }


@pytest.mark.any_backend
def test_adam_s_learning_rates_are_refused_where_they_are_not_the_optimizer_s():
    for kind in (keras.optimizers.Lamb, keras.optimizers.Adamax, keras.optimizers.SGD):
        model = constant_gradients(kind(learning_rate=1e-3))
        with pytest.raises(InputError, match="requires signal 'adam_learning_rates'"):
            Capture(model, points=(X, Y), batches=3, probes=["adam_learning_rates"])


@repeated
def test_accumulated_gradients_are_one_step():
    model = constant_gradients(keras.optimizers.Adam(1e-3, gradient_accumulation_steps=3, use_ema=True))
    steps(model, 6)
    gradients = [block.mean(axis=0) for block in np.split(X.astype(np.float64), 2)]
    row = Capture(model, points=(X, Y), batches=3).measure()
    assert row["adam_snr"] == pytest.approx(adam_snr(gradients), rel=1e-4)


def test_the_moments_are_those_of_the_variables_that_adam_trains():
    optimizers = {2: keras.optimizers.Adam(1e-3, beta_1=0.5), 4: keras.optimizers.SGD(1e-3)}
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(2), layers.Dense(1)])
    model.compile(
        keras.optimizers.MultiOptimizer(lambda variable: optimizers.get(variable.shape[-1], optimizers[4])), "mse"
    )
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    row = Capture(model, points=(X, Y), batches=3).measure()
    kept = (optimizers[2]._momentums, optimizers[2]._velocities)
    m, v = (np.concatenate([to_numpy(own.value).astype(np.float64).ravel() for own in moments]) for moments in kept)
    expected = np.linalg.norm(m / (1 - 0.5**3)) / np.linalg.norm(np.sqrt(v / (1 - 0.999**3)) + 1e-8)
    assert row["adam_snr"] == pytest.approx(expected, rel=1e-5)


@repeated
def test_the_factor_of_scaled_losses_is_in_no_norm():
    rows = []
    for scaled in (False, True):
        keras.utils.set_random_seed(5)
        model = mlp(3, 1)
        optimizer = keras.optimizers.SGD(1e-2, loss_scale_factor=None if scaled else 64.0)
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, "mse")
        model.fit(X, Y, batch_size=24, epochs=2, verbose=0)
        rows.append(Capture(model, points=(X, Y), batches=3).measure())
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


def test_complex_weights_count_with_both_parts():
    class Waves(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(3, 1), dtype="complex64", initializer="ones")

        def call(self, inputs):
            return ops.matmul(ops.cast(inputs, "complex64"), self.kernel)

    layer = Waves()
    inputs = keras.Input((3,))
    values = layer(inputs)
    model = keras.Model(inputs, [ops.real(values), ops.imag(values)])
    model.compile("adam", ["mse", "mse"])
    row = Capture(model, points=(X, [Y, 2 * Y]), batches=3).measure()
    gradients = []
    for x, y in zip(np.split(X.astype(np.float64), 3), np.split(Y.astype(np.float64), 3), strict=True):
        real, imaginary = 2 * x.T @ (x @ np.ones((3, 1)) - y) / len(x), 2 * x.T @ (0.0 - 2 * y) / len(x)
        gradients.append(np.stack([real, imaginary]))
    mean, deviation = np.linalg.norm(np.mean(gradients, 0)), np.linalg.norm(np.std(gradients, 0))
    assert row["gradient_mean_norm"] == pytest.approx(mean, rel=1e-4)
    assert row["snr"] == pytest.approx(mean / deviation, rel=1e-4)


@repeated
def test_residuals_that_write_into_the_coordinates_leave_the_points_alone():
    model, points = pinn("uniform", points=20)
    before = model.physics.points.copy()
    original = model.physics._named

    def writing_names(coordinates):
        named = original(coordinates)
        if BACKEND == "torch":
            coordinates[:, 0].add_(1.0)
        return named

    capture = Capture(model, probes=["term_losses"], batches=4)
    model.physics._named = writing_names
    rows = [capture.measure() for _ in range(2)]
    assert rows[0] == rows[1]
    np.testing.assert_array_equal(model.physics.points, before)
    np.testing.assert_array_equal(points["coordinates"], before)
