"""What a monitor says in fits that go on, are compiled anew, or are listened to by Keras' own callbacks."""

import json
import math
import warnings

import keras
import numpy as np
import pytest
from captures import due, latest
from keras import layers
from keras_models import mlp, pinn
from listeners import Listener
from repeats import further, repeated

from phasecore import InputError
from phasecore_keras import AtCaptures, PhaseMonitor

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
OPTIONS = {"every": 2, "batches": 4}


def model_of(depth=2, optimizer="adam", loss="mse", seed=0):
    keras.utils.set_random_seed(seed)
    model = mlp(3, 1, width=4, depth=depth)
    model.compile(optimizer, loss)
    return model


def fit(model, *callbacks, epochs=4, **options):
    return model.fit(X, Y, epochs=epochs, batch_size=24, verbose=0, callbacks=list(callbacks), **options).history


def other_loss(model):
    model.compile("adam", "mae")
    return model


def other_optimizer(model):
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model


def frozen(model):
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    return model


def other_model(model):
    return model_of(depth=1, seed=7)


def nothing(model):
    return model


def lora(model):
    model.layers[0].enable_lora(2)
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("change", [frozen, *further(nothing, other_loss, other_optimizer, lora, other_model)])
def test_a_monitor_used_again_says_what_a_fresh_one_says(change):
    model = model_of()
    again = PhaseMonitor(**OPTIONS, points=(X, Y))
    fit(model, again)
    changed = change(model)
    fresh = PhaseMonitor(**OPTIONS, points=(X, Y))
    fit(changed, again, fresh)
    for row, other in zip(again.history[-2:], fresh.history[-2:], strict=True):
        assert row.keys() == other.keys()
        assert all(row[name] == other[name] for name in row if name not in ("iteration", "seconds"))
    iterations = [row["iteration"] for row in again.history]
    assert iterations == sorted(set(iterations))
    assert ("adam_snr" in again.history[-1]) == (change is not other_optimizer)
    assert again.timeline is not None


@pytest.mark.any_backend
def test_iterations_count_on_where_a_model_is_compiled_anew():
    model = model_of()
    monitor = PhaseMonitor(every=3, batches=4, points=(X, Y))
    fit(model, monitor, epochs=4)
    history = fit(other_loss(model), monitor, epochs=4)
    assert [row["iteration"] for row in monitor.history] == [0, *due(3, 8)]
    assert history["iteration"] == [5, 6, 7, 8]
    assert monitor.iteration == 8


@pytest.mark.any_backend
def test_a_probe_that_the_new_optimizer_cannot_feed_is_refused_before_the_first_epoch():
    model = model_of()
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y), probes=["adam_snr"])
    fit(model, monitor)
    with pytest.raises(InputError, match="requires signal 'adam_moments'"):
        fit(other_optimizer(model), monitor)


@pytest.mark.any_backend
def test_another_model_begins_another_history_and_no_file_mixes_two(tmp_path):
    listener = Listener()
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y), loggers=[listener])
    fit(model_of(), monitor)
    fit(model_of(seed=3), monitor, epochs=2)
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 2)]
    assert listener.told.count("run_started") == 2
    assert not listener.resumed
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y), history_file=tmp_path / "history.jsonl")
    fit(model_of(), monitor)
    with pytest.raises(InputError, match=r"written rows of the first to .*history\.jsonl"):
        fit(model_of(seed=3), monitor)


@pytest.mark.any_backend
def test_rows_after_a_state_that_was_restored_are_dropped():
    model, listener = model_of(), Listener()
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y), loggers=[listener])
    fit(model, monitor, epochs=6)
    model.optimizer.iterations.assign(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, monitor, epochs=2)
    assert "rows after iteration 3 dropped (3)" in " ".join(str(warning.message) for warning in caught)
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 5)]
    assert listener.told.count("run_started") == 2
    assert listener.resumed


@pytest.mark.any_backend
def test_going_back_by_the_state_of_the_monitor_leaves_one_history(tmp_path):
    model, file = model_of(), tmp_path / "rows.jsonl"
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y), history_file=file)
    fit(model, monitor, epochs=3)
    state = monitor.state_dict()
    fit(model, monitor, epochs=3)
    monitor.load_state_dict(state)
    model.optimizer.iterations.assign(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, monitor, epochs=2)
    assert f"{file}: rows after iteration 3 dropped (3)" in " ".join(str(warning.message) for warning in caught)
    assert [json.loads(line)["iteration"] for line in file.read_text().splitlines()] == [0, *due(2, 5)]
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 5)]


@pytest.mark.any_backend
def test_a_second_fit_compiles_nothing_anew():
    model = model_of()
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y))
    fit(model, monitor)
    capture = monitor.capture
    fit(model, monitor)
    assert monitor.capture is capture
    assert [row["iteration"] for row in monitor.history] == [0, *due(2, 8)]


@repeated
def test_other_points_of_a_pinn_are_captured_as_by_a_fresh_monitor():
    model, points = pinn("rba")
    monitor = PhaseMonitor(every=2, batches=4)
    model.fit(points, epochs=2, verbose=0, callbacks=[monitor])
    points = model.points(40, seed=5)
    fresh = PhaseMonitor(every=2, batches=4)
    model.fit(points, epochs=2, verbose=0, callbacks=[monitor, fresh])
    both = [{k: v for k, v in m.history[-1].items() if k != "seconds"} for m in (monitor, fresh)]
    assert both[0] == both[1]


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", ["model", "pinn"])
@pytest.mark.parametrize("probes", [None, ["adam_snr"]])
def test_every_value_in_the_logs_was_measured(kind, probes):
    monitor = PhaseMonitor(every=5, batches=4, probes=probes, points=None if kind == "pinn" else (X, Y))
    if kind == "pinn":
        model, points = pinn("rba")
        history = model.fit(points, epochs=14, verbose=0, callbacks=[monitor]).history
    else:
        history = fit(model_of(), monitor, epochs=14)
    assert {len(values) for values in history.values()} == {14}
    assert np.isfinite([value for values in history.values() for value in values]).all()
    assert history["iteration"] == latest(5, 14)
    assert "adam_snr" in history
    assert [row["iteration"] for row in monitor.history] == [0, *due(5, 14)][probes is not None :]


@pytest.mark.any_backend
def test_early_stopping_and_checkpoints_find_the_best_value(tmp_path):
    model = model_of(optimizer=keras.optimizers.Adam(1e-2))
    monitor = PhaseMonitor(every=10, batches=4, points=(X, Y))
    options = {"monitor": "training_loss", "mode": "min"}
    stopping = keras.callbacks.EarlyStopping(**options, patience=20)
    saving = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", save_best_only=True, save_weights_only=True, **options
    )
    slower = keras.callbacks.ReduceLROnPlateau(**options, patience=20)
    history = fit(model, monitor, stopping, saving, slower, epochs=31)
    assert len(history["loss"]) == 31
    best = monitor.history[-1]["training_loss"]
    assert stopping.best == saving.best == slower.best == best == min(history["training_loss"])
    assert sorted(int(file.name.split(".")[0]) for file in tmp_path.iterdir()) == due(10, 31)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-2)


@pytest.mark.any_backend
@pytest.mark.parametrize("improving", [True, False])
def test_patience_counts_captures(improving):
    model = model_of(optimizer=keras.optimizers.SGD(1e-2 if improving else 0.0))
    stopping = keras.callbacks.EarlyStopping("training_loss", mode="min", patience=2, min_delta=1e-6)
    slower = keras.callbacks.ReduceLROnPlateau("training_loss", mode="min", patience=1, factor=0.5)
    monitor = PhaseMonitor(every=5, batches=4, points=(X, Y))
    history = fit(model, monitor, AtCaptures(stopping), AtCaptures(slower), epochs=30)
    assert len(history["loss"]) == (30 if improving else due(5, 30)[2])
    assert stopping.best == min(history["training_loss"])


class Heard(keras.callbacks.Callback):
    """Writes down the logs of the epochs that it is handed, and which batches it hears of."""

    def __init__(self, monitor=None):
        super().__init__()
        self.handed, self.batches = [], []
        if monitor:
            self.monitor = monitor

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.handed.append(dict(logs))
        logs["heard"] = 1.0


SCHEDULES = {
    "one": ["term_losses", "gradient_snr"],
    "losses more often": ["term_losses:every=1", "gradient_snr"],
    "losses more rarely": ["term_losses:every=9", "gradient_snr"],
}


@pytest.mark.any_backend
@pytest.mark.parametrize("probes", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("watched", ["snr", "training_loss", "loss", None])
def test_a_callback_is_handed_each_row_that_has_what_it_watches(watched, probes):
    """An epoch is a step: each row from the first step on, with its values, once; in a second fit too."""
    monitor, heard, model = PhaseMonitor(every=4, batches=4, probes=probes, points=(X, Y)), Heard(watched), model_of()
    logs = [fit(model, monitor, AtCaptures(heard), epochs=epochs) for epochs in (13, 6)]
    rows = [row for row in monitor.history if row["iteration"] and (watched in (None, "loss") or watched in row)]
    assert [own["iteration"] for own in heard.handed] == [row["iteration"] for row in rows]
    for own, row in zip(heard.handed, rows, strict=True):
        assert {name: own[name] for name in row if name not in ("seconds", "learning_rate")} == {
            name: value for name, value in row.items() if name not in ("seconds", "learning_rate")
        }
        assert "loss" in own
    assert len(heard.batches) == 13 + 6
    assert len(logs[0]["snr"]) == 13
    assert sum(map(len, (own["heard"] for own in logs))) == len(rows)


@pytest.mark.any_backend
def test_of_several_rows_in_an_epoch_the_last_is_handed_on():
    monitor, heard, model = PhaseMonitor(every=1, batches=4, probes=["term_losses"], points=(X, Y)), Heard(), model_of()
    model.fit(X, Y, batch_size=6, epochs=3, verbose=0, callbacks=[monitor, AtCaptures(heard)])
    assert [own["iteration"] for own in heard.handed] == [4, 8, 12]


@pytest.mark.any_backend
def test_at_captures_refuses_what_it_cannot_wrap():
    with pytest.raises(InputError, match="callback of AtCaptures: received str"):
        AtCaptures("EarlyStopping")
    with pytest.raises(InputError, match="List the monitor before it"):
        fit(model_of(), AtCaptures(keras.callbacks.TerminateOnNaN()), epochs=1)


@pytest.mark.any_backend
def test_rows_have_the_learning_rate_of_the_next_step(tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5, staircase=True)
    several = {2: keras.optimizers.SGD(0.5, name="fast"), 4: keras.optimizers.SGD(0.25, name="slow")}
    file = tmp_path / "history.jsonl"
    for optimizer in (
        keras.optimizers.SGD(schedule),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule)),
    ):
        monitor = PhaseMonitor(**OPTIONS, points=(X, Y), history_file=file)
        fit(model_of(optimizer=optimizer), monitor)
        rates = [0.1 * 0.5 ** (iteration // 2) for iteration in (0, *due(2, 4))]
        assert [row["learning_rate"] for row in monitor.history] == pytest.approx(rates)
        assert [json.loads(line)["learning_rate"] for line in file.read_text().splitlines()] == pytest.approx(rates)
        file.unlink()
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y))
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: several.get(variable.shape[-1], several[2]))
    history = fit(model_of(optimizer=optimizer), monitor)
    last = monitor.history[-1]
    assert (last["learning_rate_fast"], last["learning_rate_slow"]) == (0.5, 0.25)
    assert "learning_rate" not in history


def test_steps_that_were_left_out_are_not_counted():
    """The first losses are infinite once scaled, so that the optimizer makes no step."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), initial_scale=2.0**127)
    model = model_of(optimizer=optimizer)
    monitor = PhaseMonitor(every=1, batches=4, points=(X, Y))
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[monitor])
    done = int(optimizer.inner_optimizer.iterations)
    assert done < 12
    assert [row["iteration"] for row in monitor.history] == list(range(done + 1))


@pytest.mark.any_backend
def test_a_restored_training_gives_the_rows_of_one_that_was_not_interrupted():
    whole, model = PhaseMonitor(**OPTIONS, points=(X, Y)), model_of()
    fit(model, whole, epochs=4)
    fit(other_loss(model), whole, epochs=7)
    first, model = PhaseMonitor(**OPTIONS, points=(X, Y)), model_of()
    fit(model, first, epochs=4)
    fit(other_loss(model), first, epochs=3)
    second = PhaseMonitor(**OPTIONS, points=(X, Y))
    second.load_state_dict(first.state_dict())
    fit(model, second, epochs=4)
    for one, other in zip(whole.history, second.history, strict=True):
        assert one.keys() == other.keys()
        assert all(one[name] == other[name] or math.isnan(one[name]) for name in one if name != "seconds")


@repeated
def test_a_layer_thawed_in_the_meantime_is_counted():
    model = model_of()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    monitor = PhaseMonitor(**OPTIONS, points=(X, Y))
    fit(model, monitor)
    model.layers[0].trainable = True
    model.compile("adam", "mse")
    fit(model, monitor)
    counts = [sum(name.endswith("_std_norm") and name.startswith("layer") for name in row) for row in monitor.history]
    assert counts[0] == counts[2] == 2
    assert counts[-1] == 3
    assert isinstance(model.layers[0], layers.Dense)
