import csv
import json
import math

import keras
import numpy as np
import pytest
from captures import due, latest
from keras import layers, ops
from keras_models import BACKEND, Batches, mlp, pinn, variables_of
from repeats import further, repeated

import phasecore
from phasecore import InputError
from phasecore_keras import PINN, Capture, PhaseMonitor
from phasecore_keras.autodiff import autodiff, to_numpy

X = np.random.default_rng(0).normal(size=(120, 3)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("int32")


def classifier(optimizer="adam"):
    """An ordinary network with random and moving parts."""
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def statistics(gradients):
    """SNR, order and norms by their definitions in float64: gradients[batch][layer]."""
    row, means, deviations = {}, [], []
    for k, layer in enumerate(zip(*gradients, strict=True)):
        samples = np.stack(layer).astype(np.float64)
        means.append(np.linalg.norm(samples.mean(0)))
        deviations.append(np.linalg.norm(samples.std(0)))
        row |= {f"layer{k}_mean_norm": means[-1], f"layer{k}_std_norm": deviations[-1]}
    mean, deviation = math.hypot(*means), math.hypot(*deviations)
    order = mean / math.hypot(mean, deviation)
    return row | {
        "gradient_mean_norm": mean,
        "gradient_std_norm": deviation,
        "snr": mean / deviation,
        "gradient_order": order,
    }


@pytest.mark.parametrize(("weighting", "batches"), [("rba", 10), *further(("uniform", 7))])
def test_the_snr_of_a_pinn_is_that_of_its_batches_with_the_conditions_added(weighting, batches):
    model, points = pinn(weighting)
    model.fit(points, epochs=30 if weighting == "rba" else 2, verbose=0)
    row = Capture(model, probes=["gradient_snr"], batches=batches).measure()
    kernels = [v for v in model.trainable_variables if len(v.shape) == 2]
    others = [v for v in model.variables if len(v.shape) != 2]

    def loss(coordinates, indices):
        evaluation = model.physics(coordinates, indices, training=False)
        return sum(evaluation.weighted.values())

    gradient_of, gradients = autodiff().gradients(loss, kernels, others), []
    for batch in np.array_split(np.arange(60), batches):
        found = gradient_of(*(ops.convert_to_tensor(values[batch]) for values in points.values()))
        gradients.append([to_numpy(gradient) for gradient in found])
    expected = statistics(gradients)
    for name, value in expected.items():
        # the oracle adds the conditions before it takes deviations, and loses their digits where the mean dominates
        loose = 1e-7 * expected["gradient_mean_norm"] / expected["gradient_std_norm"]
        assert row[name] == pytest.approx(value, rel=2e-5 + 10 * loose), name


def test_the_snr_of_an_ordinary_network_is_that_of_its_batches():
    model = mlp(3, 2)
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    row = Capture(model, points=(X, Y), batches=9).measure()
    kernels = [v for v in model.trainable_variables if len(v.shape) == 2]
    others = [v for v in model.variables if len(v.shape) != 2]
    gradients, losses = [], []

    def loss(x, y):
        log_shares = ops.log_softmax(model(x), axis=-1)
        return -ops.mean(ops.take_along_axis(log_shares, ops.expand_dims(y, 1), axis=1))

    gradient_of = autodiff().gradients(loss, kernels, others)
    for batch in np.array_split(np.arange(120), 9):
        x, y = ops.convert_to_tensor(X[batch]), ops.convert_to_tensor(Y[batch])
        gradients.append([to_numpy(gradient) for gradient in gradient_of(x, y)])
        losses += [float(to_numpy(loss(x, y)))] * len(batch)
    for name, value in statistics(gradients).items():
        assert row[name] == pytest.approx(value, rel=1e-5), name
    assert row["training_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert "adam_snr" not in row


def test_adam_snr_comes_from_the_optimizer():
    model, points = pinn()
    model.fit(points, epochs=3, verbose=0)
    row = Capture(model, probes=["adam_snr"], batches=5).measure()
    first, second = [], []
    for variable in model.optimizer.variables:
        values = to_numpy(variable.value).astype(np.float64)
        if values.ndim:
            (first if "momentum" in variable.path else second).append(values.ravel())
    m = np.concatenate(first) / (1 - 0.9**3)
    v = np.concatenate(second) / (1 - 0.999**3)
    assert row["adam_snr"] == pytest.approx(np.linalg.norm(m) / np.linalg.norm(np.sqrt(v) + 1e-8), rel=1e-5)


@pytest.mark.parametrize("kind", ["pinn", *further("network")])
def test_the_training_is_the_same_with_and_without_a_monitor(kind):
    finals = []
    for monitored in (False, True):
        keras.utils.clear_session()
        keras.utils.set_random_seed(3)
        if kind == "pinn":
            model, points = pinn()
            data, options = (points,), {"batch_size": 20}
            monitor = PhaseMonitor(every=2, batches=5, probes=["gradient_snr", "relative_l2_error"])
        else:
            model = classifier()
            data, options = (X, Y), {"batch_size": 50}
            monitor = PhaseMonitor(every=2, batches=5, points=(X, Y))
        history = model.fit(*data, epochs=3, verbose=0, callbacks=[monitor] if monitored else [], **options).history
        finals.append((variables_of(model), history["loss"]))
        if monitored:
            assert [row["iteration"] for row in monitor.history] == [0, *due(2, 9)]
    assert finals[0][1] == finals[1][1]
    for one, other in zip(finals[0][0], finals[1][0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.any_backend
def test_logs_reach_history_and_csv(tmp_path):
    model, points = pinn()
    monitor = PhaseMonitor(every=3, batches=6)
    file = tmp_path / "log.csv"
    history = model.fit(points, epochs=15, verbose=0, callbacks=[monitor, keras.callbacks.CSVLogger(file)]).history
    rows = {row["iteration"]: row for row in monitor.history}
    assert list(rows) == [0, *due(3, 15)]
    assert history["iteration"] == latest(3, 15)
    assert history["snr"] == [rows[iteration]["snr"] for iteration in latest(3, 15)]
    assert {"gradient_order", "layer0_std_norm", "adam_snr", "residual_order", "loss_pde"} <= set(history)
    assert {len(values) for values in history.values()} == {15}
    assert np.isfinite([value for values in history.values() for value in values]).all()
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [float(row["snr"]) for row in rows] == pytest.approx(history["snr"])


@pytest.mark.any_backend
def test_history_file_and_hook_and_detection(tmp_path):
    model, points = pinn()
    seen = []
    file = tmp_path / "history.jsonl"
    monitor = PhaseMonitor(every=2, batches=6, history_file=file, on_capture=seen.append)
    model.fit(points, epochs=4, verbose=0, callbacks=[monitor])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [row["iteration"] for row in seen] == [0, *due(2, 4)]
    assert monitor.phase is None or monitor.phase.value
    assert monitor.detect() is not None
    with pytest.raises(InputError, match="history_file"):
        PhaseMonitor(history_file=file)


@pytest.mark.any_backend
def test_going_on_in_a_second_fit_and_from_a_saved_state():
    model, points = pinn()
    monitor = PhaseMonitor(every=3, batches=6)
    model.fit(points, epochs=4, verbose=0, callbacks=[monitor])
    model.fit(points, epochs=4, verbose=0, callbacks=[monitor])
    assert [row["iteration"] for row in monitor.history] == [0, *due(3, 8)]
    assert monitor.history[0]["seconds"] < monitor.history[1]["seconds"]
    other = PhaseMonitor(every=3, batches=6)
    other.load_state_dict(monitor.state_dict())
    model.fit(points, epochs=4, verbose=0, callbacks=[other])
    assert [row["iteration"] for row in other.history] == [0, *due(3, 12)]


@pytest.mark.skipif(BACKEND == "torch", reason="Keras itself refuses steps_per_execution with torch")
def test_steps_per_execution_are_counted():
    model, points = pinn(compile_options={"steps_per_execution": 4})
    monitor = PhaseMonitor(every=5, batches=6, probes=["term_losses"])
    data = Batches(points, [np.arange(k, k + 10) for k in range(12)])
    model.fit(data, epochs=1, shuffle=False, verbose=0, callbacks=[monitor])
    assert [row["iteration"] for row in monitor.history] == [0, 4, 8, 12]


def test_attention_is_tracked_beside_another_scheme_from_the_first_step():
    model, points = pinn("uniform", optimizer=keras.optimizers.SGD(0.0))
    model.fit(points, epochs=1, verbose=0)
    monitor = PhaseMonitor(every=2, batches=6, probes=["residual_order"])
    model.fit(points, epochs=3, verbose=0, callbacks=[monitor])
    assert 0 < monitor.history[-1]["residual_order"] <= 1
    attention = to_numpy(model.physics.residual_attention()["pde"])
    assert attention.max() == pytest.approx(0.001 * (1 + 0.999 + 0.999**2), rel=1e-4)


@pytest.mark.any_backend
def test_no_batch_is_waited_for_where_nothing_is_captured():
    """Keras makes all logs numbers at the end of each batch as soon as one callback listens to it."""
    monitor = PhaseMonitor()
    assert type(monitor).on_train_batch_end is keras.callbacks.Callback.on_train_batch_end
    assert type(monitor).on_batch_end is keras.callbacks.Callback.on_batch_end


@repeated
def test_structured_inputs_and_sample_weights():
    a, b = keras.Input((2,), name="a"), keras.Input((1,), name="b")
    model = keras.Model({"a": a, "b": b}, layers.Dense(1)(layers.Concatenate()([a, b])))
    model.compile(optimizer="adam", loss="mse")
    inputs = {"a": X[:, :2], "b": X[:, 2:]}
    capture = Capture(model, points=(inputs, Y.astype("float32")[:, None], np.ones(120, "float32")), batches=4)
    plain = Capture(model, points=(inputs, Y.astype("float32")[:, None]), batches=4)
    assert capture.measure()["snr"] == pytest.approx(plain.measure()["snr"], rel=1e-6)


@repeated
def test_biases_are_counted_if_asked():
    model, _ = pinn(depth=2)
    with_biases = Capture(model, probes=["gradient_snr"], batches=5, biases=True).measure()
    without = Capture(model, probes=["gradient_snr"], batches=5).measure()
    assert sum(name.endswith("_std_norm") for name in with_biases) == 7
    assert sum(name.endswith("_std_norm") for name in without) == 4


def test_a_model_read_by_autodiff_is_captured_too():
    problem = phasecore.problem("helmholtz")
    network = keras.Sequential(
        [keras.Input((2,)), layers.Dense(6, activation="tanh"), layers.GroupNormalization(groups=2), layers.Dense(1)]
    )
    with pytest.warns(UserWarning, match="nested autodiff"):
        model = PINN(network, problem)
    model.compile(optimizer="adam")
    model.points(20)
    assert math.isfinite(Capture(model, probes=["gradient_snr"], batches=4).measure()["snr"])


def fit_with(model, data, batches=5, **options):
    model.fit(*data, epochs=1, verbose=0, callbacks=[PhaseMonitor(batches=batches, **options)])


@pytest.mark.any_backend
def test_a_network_without_data_is_refused():
    with pytest.raises(InputError, match="a model that is no PINN: received no points"):
        fit_with(classifier(), (X, Y))
    with pytest.raises(InputError, match="lengths"):
        fit_with(classifier(), (X, Y), points=(X, Y[:5]))
    model, points = pinn()
    with pytest.raises(InputError, match="beside a PINN"):
        fit_with(model, (points,), points=points)


def test_a_model_without_optimizer_or_variables_is_refused():
    model = mlp()
    with pytest.raises(InputError, match="a model without an optimizer"):
        Capture(model, points=(X, Y))
    model = keras.Sequential([layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    with pytest.raises(InputError, match="not built"):
        Capture(model, points=(X, Y))
    if BACKEND == "tensorflow":
        with pytest.raises(InputError, match="not built"):
            fit_with(model, (X, Y.astype("float32")), points=(X, Y))


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "argument 'every'"),
        ({"every": True}, "argument 'every'"),
        ({"batches": 1}, "number of batches"),
        ({"batches": 61}, "from 2 to the number of points, 60"),
        ({"probes": ["adam_snr"]}, "requires signal 'adam_moments'"),
        ({"probes": ["snr"]}, "unknown probe"),
    ],
)
def test_bad_options(options, message):
    model, points = pinn(optimizer=keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match=message):
        fit_with(model, (points,), **options)


@pytest.mark.any_backend
def test_a_model_without_weight_matrices():
    problem = phasecore.problem("burgers")

    class Frozen(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(1,), initializer="ones")

        def call(self, x):
            return ops.sin(x[:, :1] * self.scale)

    model = PINN(Frozen(), problem)
    model.compile(optimizer="adam")
    points = model.points(20)
    with pytest.raises(InputError, match="no trainable weight matrix"):
        fit_with(model, (points,), batches=4)
    fit_with(model, (points,), batches=4, biases=True)
