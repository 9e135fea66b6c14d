"""Losses of one's own, as physics-informed networks written by hand have them: measured as they are, or refused."""

import re
import warnings

import keras
import numpy as np
import pytest
from captures import due
from keras import layers, ops
from keras_models import BACKEND, mlp
from repeats import further, repeated

from phasecore import InputError
from phasecore_keras import Capture, PhaseMonitor
from phasecore_keras.autodiff import autodiff, to_numpy

X = np.random.default_rng(0).uniform(-1, 1, size=(24, 1)).astype("float32")
Y = np.sin(3 * X)


class Decay(keras.Model):
    """u' + u = 0, trained by a step of its own; the loss that it is compiled with is not what it minimizes."""

    def __init__(self):
        super().__init__()
        self.network = keras.Sequential([keras.Input((1,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
        self.rate = self.add_weight(shape=(), initializer="ones", name="rate")
        self.built = True

    def call(self, x):
        return self.network(x)

    def residual_loss(self, x):
        def output(points):
            return self.network(points)[:, 0]

        slope = autodiff().derivative(output, axis=0)(x)
        return ops.mean(ops.square(slope + self.rate * output(x))) + ops.square(self.network(0.0 * x[:1])[0, 0] - 1.0)

    if BACKEND == "tensorflow":

        def train_step(self, data):
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.residual_loss(data[0])
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"residual": loss}

    elif BACKEND == "torch":

        def train_step(self, data):
            import torch

            self.zero_grad()
            loss = self.residual_loss(data[0])
            loss.backward()
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in self.trainable_variables], self.trainable_variables)
            return {"residual": loss}

    else:

        def train_step(self, state, data):
            import jax

            trained, others, optimized, metrics = state

            def loss(trained):
                mapping = list(zip(self.trainable_variables, trained, strict=True))
                with keras.StatelessScope(mapping):
                    return self.residual_loss(data[0])

            value, gradients = jax.value_and_grad(loss)(trained)
            trained, optimized = self.optimizer.stateless_apply(optimized, gradients, trained)
            return {"residual": value}, (trained, others, optimized, metrics)


def decay(**options):
    keras.utils.set_random_seed(1)
    model = Decay()
    model.compile(keras.optimizers.Adam(1e-2), loss="mse", **options)
    return model


@pytest.mark.any_backend
def test_a_step_of_ones_own_is_refused_before_the_first_epoch_without_its_loss():
    model = decay()
    before = [to_numpy(v.value).copy() for v in model.trainable_variables]
    with pytest.raises(InputError, match=r"a 'train_step' of its own: received no loss.*loss=batch_loss"):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[PhaseMonitor(points=(X, Y), batches=4)])
    for one, other in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, to_numpy(other.value))


@pytest.mark.any_backend
@pytest.mark.parametrize("where", ["instance", "make_train_function", "parent"])
def test_a_step_is_found_wherever_it_is_overridden(where):
    class Parent(keras.Sequential):
        def make_train_function(self, force=False):
            return super().make_train_function(force)

    kind = {"instance": keras.Sequential, "make_train_function": Parent, "parent": type("Child", (Parent,), {})}[where]
    model = kind([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    if where == "instance":
        model.train_step = model.train_step
    with pytest.raises(InputError, match="of its own: received no loss"):
        Capture(model, points=(X, Y), batches=4)
    assert Capture(model, loss=lambda x, y: ops.mean(ops.square(model(x) - y)), points=(X, Y), batches=4).measure()


@repeated
def test_what_only_changes_the_loss_needs_no_loss():
    class Own(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 2.0 * ops.mean(ops.abs(y - y_pred))

    model = Own([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd")
    model.fit(X, Y, epochs=1, verbose=0)
    measured = Capture(model, points=(X, Y), batches=4).measure()["training_loss"]
    assert measured == pytest.approx(2.0 * np.abs(Y - model.predict(X, verbose=0)).mean(), rel=1e-5)


def test_the_rows_are_those_of_the_loss_that_the_step_minimizes():
    model = decay()
    monitor = PhaseMonitor(every=2, loss=model.residual_loss, points=X, batches=4)
    history = model.fit(X, Y, batch_size=24, epochs=4, verbose=0, shuffle=False, callbacks=[monitor]).history
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 4)]
    losses = [np.mean([float(to_numpy(model.residual_loss(ops.convert_to_tensor(x)))) for x in np.split(X, 4)])]
    assert monitor.history[-1]["training_loss"] == pytest.approx(losses[0], rel=1e-5)
    assert monitor.history[2]["training_loss"] == pytest.approx(history["residual"][2], rel=1e-5)
    gradients = autodiff().gradients(model.residual_loss, model.trainable_variables, [])
    kernels = [k for k, v in enumerate(model.trainable_variables) if len(v.shape) == 2]
    found = [[to_numpy(gradients(ops.convert_to_tensor(x))[k]).ravel() for k in kernels] for x in np.split(X, 4)]
    samples = np.asarray([np.concatenate(parts) for parts in found], dtype=np.float64)
    expected = np.linalg.norm(samples.mean(0)) / np.linalg.norm(samples.std(0))
    assert monitor.history[-1]["snr"] == pytest.approx(expected, rel=1e-4)
    assert {"adam_snr", "learning_rate"} <= set(monitor.history[-1])


@repeated
def test_a_step_of_ones_own_is_the_same_with_and_without_a_monitor():
    finals = []
    for monitored in (False, True):
        model = decay()
        monitor = PhaseMonitor(every=1, loss=model.residual_loss, points=X, batches=4)
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False, callbacks=[monitor] if monitored else [])
        finals.append([to_numpy(v.value) for v in [*model.variables, *model.optimizer.variables]])
    for one, other in zip(*finals, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_optimizer_that_makes_no_step_is_said():
    model = decay()
    if BACKEND == "jax":
        model.train_step = lambda state, data: ({"loss": ops.zeros(())}, state)
    else:
        model.train_step = lambda data: {"loss": ops.zeros(())}
    monitor = PhaseMonitor(loss=model.residual_loss, points=X, batches=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[monitor])
    assert "made no step in this epoch" in " ".join(str(warning.message) for warning in caught)


def own(loss, points=(X, Y), **options):
    model = mlp(1, 1)
    model.compile("adam", **options)
    return Capture(model, loss=lambda *batch: loss(model, *batch), points=points, batches=4)


BAD = {
    "None": (lambda model, x, y: None, "received None"),
    "tuple": (lambda model, x, y: (ops.mean(model(x)), ops.mean(y)), "received a tuple"),
    "dict": (lambda model, x, y: {"loss": ops.mean(model(x))}, "received a dict"),
    "vector": (lambda model, x, y: ops.mean(ops.square(model(x) - y), axis=-1), r"received shape \(6,\) of float32"),
    "one value in a row": (
        lambda model, x, y: ops.mean(model(x), keepdims=True),
        r"received shape \(1, 1\) of float32",
    ),
    "number": (lambda model, x, y: 1.5, "received a float"),
    "numpy": (lambda model, x, y: np.float32(1.5), "received a float32"),
    "integer": (lambda model, x, y: ops.sum(ops.cast(model(x), "int32")), r"received shape \(\) of int32"),
}


OF_ALL = ("vector", "number")


@pytest.mark.parametrize("name", [*OF_ALL, *further(*(name for name in BAD if name not in OF_ALL))])
def test_a_loss_that_is_no_scalar_is_refused_at_the_set_up(name):
    loss, message = BAD[name]
    with pytest.raises(InputError, match=f"the loss of a batch: {message}; expected its mean"):
        own(loss)


@repeated
def test_a_compiled_loss_that_is_no_scalar_is_refused_too():
    class Wrong(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.square(y - y_pred)

    model = Wrong([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd")
    with pytest.raises(InputError, match="the loss of a batch: received shape"):
        Capture(model, points=(X, Y), batches=4)


OTHER = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
WITHOUT_GRADIENT = {
    "stopped": lambda model, x, y: ops.stop_gradient(ops.mean(ops.square(model(x) - y))),
    "stopped on the way": lambda model, x, y: ops.mean(ops.square(ops.stop_gradient(model(x)) - y)),
    "of another model": lambda model, x, y: ops.mean(ops.square(OTHER(x) - y)),
    "of the data": lambda model, x, y: ops.mean(ops.square(y)),
    "of comparisons": lambda model, x, y: ops.mean(ops.cast(model(x) > y, "float32")),
}


DETACHED = ("stopped", "of another model")


@pytest.mark.parametrize("name", [*DETACHED, *further(*(name for name in WITHOUT_GRADIENT if name not in DETACHED))])
def test_a_loss_without_gradient_is_refused_and_never_measured_as_zero(name):
    with pytest.raises(InputError, match="no gradient leads to the model's variables"):
        own(WITHOUT_GRADIENT[name])


def test_a_gradient_of_zero_is_none_that_is_missing():
    capture = own(lambda model, x, y: 0.0 * ops.mean(ops.square(model(x) - y)))
    assert capture.measure()["gradient_mean_norm"] == 0.0


@repeated
def test_a_compiled_loss_without_gradient_and_a_model_that_is_frozen_are_refused():
    model = mlp(1, 1)
    model.compile("adam", loss=lambda y, prediction: ops.square(ops.stop_gradient(prediction) - y))
    with pytest.raises(InputError, match="no gradient leads"):
        Capture(model, points=(X, Y), batches=4)
    model.trainable = False
    model.compile("adam", "mse")
    with pytest.raises(InputError, match="no trainable weight matrix"):
        Capture(model, points=(X, Y), batches=4)


def test_variables_that_hide_in_a_loss_have_their_present_values():
    factor = keras.Variable(1.0)
    capture = own(lambda model, x, y: factor * ops.mean(ops.square(model(x) - y)))
    first = capture.measure()
    factor.assign(3.0)
    second = capture.measure()
    for name in ("training_loss", "gradient_mean_norm", "gradient_std_norm"):
        assert second[name] == pytest.approx(3.0 * first[name], rel=1e-5)


@repeated
def test_a_model_that_runs_eagerly_may_have_a_loss_that_cannot_be_compiled():
    seen = []

    def loss(model, x, y):
        seen.append(len(x))
        return ops.mean(ops.square(model(x) - y))

    capture = own(loss, run_eagerly=True)
    capture.measure()
    count = len(seen)
    capture.measure()
    assert len(seen) == count + 4


class Halves(keras.utils.PyDataset):
    def __init__(self, *arrays, count=2):
        super().__init__()
        self.arrays, self.count = arrays, count

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        parts = tuple(np.split(array, 2)[index] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]


def data_sets():
    import tensorflow as tf
    import torch

    slices = tf.data.Dataset.from_tensor_slices
    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return {
        "arrays": (X.astype("float64"), Y),
        "list": [X, Y],
        "tensors": (ops.convert_to_tensor(X), ops.convert_to_tensor(Y)),
        "tf.data": slices((X, Y)).batch(5),
        "PyDataset": Halves(X, Y),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=5),
        "generated": tf.data.Dataset.from_generator(
            lambda: iter([(X, Y)]), output_signature=(tf.TensorSpec((None, 1)), tf.TensorSpec((None, 1)))
        ),
    }


@pytest.mark.any_backend
def test_points_are_the_same_whatever_holds_them():
    rows = {}
    for name, points in data_sets().items():
        keras.utils.set_random_seed(3)
        rows[name] = own(lambda model, x, y: ops.mean(ops.square(model(x) - y)), points).measure()
    for name, row in rows.items():
        assert row == pytest.approx(rows["arrays"], rel=1e-5), name


@repeated
def test_a_batch_is_handed_over_in_the_structure_of_the_points():
    def loss(model, batch):
        return ops.mean(ops.square(model(batch["inside"]["x"]))) + ops.mean(batch["all"][0] * batch["all"][1])

    assert "snr" in own(loss, {"inside": {"x": X}, "all": [X, Y]}).measure()
    assert "snr" in own(lambda model, x: ops.mean(ops.square(model(x))), X).measure()
    assert "snr" in own(lambda model, x: ops.mean(ops.square(model(x))), Halves(X)).measure()


def refused():
    import tensorflow as tf
    import torch

    slices = tf.data.Dataset.from_tensor_slices((X, Y))
    return {
        "nothing": (None, "received no points"),
        "other lengths": ((X, Y[:5]), r"lengths \[24, 5\]"),
        "number": (3, "received a int"),
        "text": ("points.npy", "received a str"),
        "numbers in lists": ([[0.1], [0.2]], "received a float"),
        "objects": (np.asarray([object()] * 24), "dtype object"),
        "generator": ((batch for batch in [(X, Y)]), "read only once"),
        "without end": (slices.batch(4).repeat(), "does not end"),
        "not batched": (tf.data.Dataset.from_tensor_slices((np.repeat(X, 3, axis=1), Y)), "Batch it"),
        "PyDataset without end": (Halves(X, Y, count=None), "does not end"),
        "empty": (slices.take(0).batch(2), "without any batch"),
        "torch's data set": (torch.utils.data.TensorDataset(torch.tensor(X)), "received a torch.TensorDataset"),
        "a function": (lambda count: X, "received a function"),
        "too few": ((X[:3], Y[:3]), "from 2 to the number of points, 3"),
    }


@pytest.mark.any_backend
def test_other_points_are_refused_at_the_set_up_by_name():
    for name, (points, message) in refused().items():
        with pytest.raises(InputError) as caught:
            own(lambda model, *batch: ops.mean(model(batch[0])), points)
        assert re.search(message, str(caught.value)), name


def test_reading_a_data_set_draws_nothing_from_the_generators():
    if BACKEND != "torch":
        return
    import torch

    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(tensors, batch_size=5, shuffle=True)
    before = torch.random.get_rng_state()
    own(lambda model, x, y: ops.mean(ops.square(model(x) - y)), loader)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_loss_may_be_negative():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), layers.Dense(8, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=lambda y, u: 0.5 * ops.square(u) - 3.0 * u)
    monitor = PhaseMonitor(points=(X, Y), every=1, batches=4)
    history = model.fit(X, Y, batch_size=24, epochs=40, verbose=0, callbacks=[monitor]).history
    assert monitor.history[-1]["training_loss"] == pytest.approx(history["loss"][-1], abs=0.2)
    assert monitor.history[-1]["training_loss"] < -1.0
