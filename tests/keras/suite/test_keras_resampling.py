"""Points that move in Keras: within `fit`, beside it, and in runs of the command line; nothing compiled anew for it."""

import json

import keras
import numpy as np
import pytest
from keras_models import BACKEND, Batches, mlp, pinn, still
from repeats import further, repeated

import phasecore
from phasecore import InputError
from phasecore.problems import Burgers, CollocationPoints
from phasecore.runs import execute, prepare, prepare_resumed
from phasecore_keras import PINN, Capture, PhaseMonitor, Resampling
from phasecore_keras.autodiff import to_numpy

BURGERS = phasecore.problem("burgers")
MOVING = {
    "uniform": "sobol+uniform:every=3",
    "rad": "rad:every=3,candidates=200",
    "rar_d": "rar_d:every=3,added=7,candidates=200",
    "r3": "r3:every=3",
}


def state_of(model):
    return {variable.path: to_numpy(variable.value).copy() for variable in model.weighting.variables}


def fitted(model, points, epochs=7, callbacks=(), **options):
    return model.fit(points, epochs=epochs, callbacks=list(callbacks), verbose=0, **options)


class Traces(keras.callbacks.Callback):
    """How often the residual was traced, or called where nothing is compiled, by the end of each epoch."""

    def __init__(self, calls):
        super().__init__()
        self.calls, self.by_epoch = calls, []

    def on_epoch_end(self, epoch, logs=None):
        self.by_epoch.append(len(self.calls))


def counted(weighting="rba"):
    calls = []

    class Counted(Burgers):
        def residuals(self, coordinates, partials, xp):
            calls.append(1)
            return super().residuals(coordinates, partials, xp)

    model = PINN(mlp(), Counted(), weighting=weighting)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    return model, model.points(60, seed=0), calls


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone traces a function twice that makes variables")
def test_a_step_is_traced_once():
    for way in (lambda model, points: fitted(model, points, 2), lambda model, points: model.train_on_batch(points)):
        model, points, calls = counted("uniform")
        before = len(calls)
        way(model, points)
        assert len(calls) == before + 1


@pytest.mark.parametrize("name", ["rad", *further("r3")])
def test_fit_moves_points_and_compiles_nothing_anew(name):
    if BACKEND == "torch":
        pytest.skip("Keras on torch compiles nothing")
    model, points, calls = counted()
    traces = Traces(calls)
    fitted(model, points, 12, [Resampling(MOVING[name]), traces])
    moved = model.points()
    assert not np.array_equal(moved["coordinates"], points["coordinates"])
    assert moved["coordinates"].shape == (60, 2)
    # at the first move what evaluates residuals elsewhere is compiled, once
    assert len(set(traces.by_epoch[4:])) == 1


def test_the_set_may_grow_within_fit():
    model, points = pinn("rba")
    monitor = PhaseMonitor(every=2, batches=6, probes=["gradient_snr"])
    fitted(model, points, 4, [monitor, Resampling(MOVING["rar_d"])])
    assert len(model.points()["coordinates"]) == 60 + 7
    assert model.physics.point_weights()["pde"].shape == (67,)
    assert monitor.history[-1]["iteration"] == 4
    assert all(np.isfinite(row["snr"]) for row in monitor.history)
    fitted(model, model.points(), 2)
    with pytest.raises(InputError, match=r"train on pinn.points\(\)"):
        fitted(model, points, 1)


@pytest.mark.any_backend
def test_best_weights_of_fewer_points_are_not_restored_and_the_message_says_what_to_do():
    model, points = pinn("rba")
    worse = keras.callbacks.EarlyStopping("loss", mode="max", patience=9, restore_best_weights=True)
    with pytest.raises(InputError, match=r"shape \(60,\) for variable .* shape \(67,\): points were added.*ModelCheck"):
        fitted(model, points, 4, [worse, Resampling(MOVING["rar_d"])])
    kept = model.get_weights()
    model.set_weights(kept)
    model.change_weighting("uniform")
    with pytest.raises(InputError, match=r"received an array of shape .*: points were .* or the weighting changed"):
        model.set_weights(kept)


@pytest.mark.any_backend
def test_points_that_moved_go_back_with_the_weights_that_are_restored():
    model, points = pinn("rba")
    fitted(model, points, 4, [Resampling(MOVING["r3"])])
    kept, before = model.get_weights(), model.points()
    fitted(model, before, 4, [Resampling(MOVING["r3"])])
    assert np.abs(model.points()["coordinates"] - before["coordinates"]).max() > 0.1
    model.set_weights(kept)
    np.testing.assert_array_equal(model.points()["coordinates"], before["coordinates"])
    for one, other in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(one, other)
    fitted(model, before, 1)


def test_a_step_trains_on_the_points_where_they_are():
    """The loss of each epoch, against one made anew for the points that it was trained on."""
    model, points = still("uniform")
    used = []

    class Move(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                used.append(self.model.resample(BURGERS.sample(60, seed=epoch)))

    history = fitted(model, points, 4, [Move()]).history["pde_loss"]
    fresh = PINN(model.network, BURGERS)
    fresh.compile(optimizer=keras.optimizers.SGD(0.0))
    for epoch, own in enumerate(used, start=1):
        fresh.points(BURGERS.sample(60, seed=epoch))
        expected = fresh.evaluate(own, verbose=0, return_dict=True)["pde_loss"]
        assert history[epoch] == pytest.approx(expected, rel=1e-4)
    assert len(set(history)) == 4


@repeated
def test_batches_of_a_pipeline_follow_by_their_indices():
    model, points = still("rba")
    batches = [np.arange(20), np.arange(20, 60)]

    class Move(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                order = np.arange(60)[::-1]
                self.model.resample(self.model.points()["coordinates"][order].astype(np.float64))

    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(to_numpy(self.model.physics.point_weights()["pde"]).copy())

    fitted(model, Batches(points, batches), 2, [Move(), Keep()])
    first, second = kept
    # each point has been visited once more, now in the other batch's place: its weight went with it and grew
    assert (second[::-1] > first).all()


@pytest.mark.parametrize("weighting", ["rba", *further("brdr", "self_adaptive", "causal")])
def test_weights_and_states_stay_with_their_points(weighting):
    model, points = still(weighting)
    fitted(model, points, 3)
    before = state_of(model)
    given = model.physics.collocation
    order = np.random.default_rng(0).permutation(60)
    model.resample(CollocationPoints(given.interior[order], given.conditions))
    for path, value in state_of(model).items():
        of_points = path.endswith("_pde") and value.shape == (60,)
        assert np.array_equal(value, before[path][order] if of_points else before[path]), path
    other = BURGERS.sample(41, seed=7).interior
    there, old = state_of(model), model.physics.collocation.interior
    model.resample(other)
    extents = BURGERS.bounds[1] - BURGERS.bounds[0]
    nearest = [int(np.argmin((np.square((old - row) / extents)).sum(axis=1))) for row in other]
    for path, value in state_of(model).items():
        of_points = path.endswith("_pde") and there[path].shape == (60,)
        assert np.array_equal(value, there[path][nearest] if of_points else there[path]), path


@pytest.mark.parametrize("name", ["rad", *further("rar_d")])
def test_a_capture_after_a_move_is_that_of_a_fresh_model_with_these_points_and_weights(name):
    model, points = pinn("rba")
    probes = ["gradient_snr", "residual_order", "term_losses", "target_information"]
    monitor = PhaseMonitor(every=100, probes=probes, batches=6)
    fitted(model, points, 5, [monitor, Resampling(MOVING[name])])
    found = monitor.capture.measure()
    fresh = PINN(model.network, BURGERS, weighting="rba")
    fresh.compile(optimizer=keras.optimizers.Adam(1e-3))
    fresh.points(model.physics.collocation)
    for own, other in zip(fresh.weighting.variables, model.weighting.variables, strict=True):
        own.assign(to_numpy(other.value))
    expected = Capture(fresh, probes=probes, batches=6).measure()
    assert found == pytest.approx(expected, rel=1e-3)


@repeated
def test_costly_schemes_go_on_with_points_that_move():
    model, points = pinn("rba+grad_norm:every=2")
    fitted(model, points, 7, [Resampling(MOVING["rad"])])
    fitted(model, model.points(), 4, [Resampling(MOVING["rar_d"])])
    assert all(np.isfinite(value).all() for value in state_of(model).values())


@pytest.mark.any_backend
def test_a_saved_model_holds_its_points_where_they_are(tmp_path):
    model, points = pinn("rba")
    fitted(model, points, 4, [Resampling(MOVING["r3"])])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again.points()["coordinates"], model.points()["coordinates"])
    assert np.array_equal(
        to_numpy(again.physics.point_weights()["pde"]), to_numpy(model.physics.point_weights()["pde"])
    )


@repeated
@pytest.mark.parametrize("name", ["rad", "rar_d"])
def test_a_run_with_moving_points_resumes(name, tmp_path):
    options = {"weighting": "rba", "sampling": MOVING[name], "backend": "keras", "points": 40, "width": 6, "depth": 1}
    options |= {"every": 4, "probes": ["residual_order", "term_losses"]}

    def rows(folder):
        lines = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
        return {row["iteration"]: {k: v for k, v in row.items() if k != "seconds"} for row in lines}

    execute(prepare("burgers", **options, iterations=8, output=tmp_path / "whole"))
    execute(prepare("burgers", **options, iterations=6, output=tmp_path / "parts"))
    execute(prepare_resumed(tmp_path / "parts", iterations=8), resume=True)
    whole, parts = rows(tmp_path / "whole"), rows(tmp_path / "parts")
    for iteration, row in whole.items():
        assert parts[iteration] == pytest.approx(row, rel=1e-4)
    assert whole[8]["points"] == (54 if name == "rar_d" else 40)


@pytest.mark.any_backend
def test_data_in_batches_have_the_indices_of_as_many_points():
    model, points = pinn("uniform")
    with pytest.raises(InputError, match="within a fit on batches: received 67 points; expected 60"):
        fitted(model, points, 4, [Resampling(MOVING["rar_d"])], batch_size=60)
    assert len(model.points()["coordinates"]) == 60


@pytest.mark.any_backend
def test_what_cannot_move_is_refused_before_the_first_epoch():
    model, points = pinn("uniform")
    with pytest.raises(InputError, match="sampling 'sobol', which moves no points"):
        Resampling("sobol")
    with pytest.raises(InputError, match="option 'candidates': received 5; expected 60 or more"):
        fitted(model, points, 1, [Resampling("rad:candidates=5")])
    with pytest.raises(InputError, match="outside the domain"):
        model.resample(np.full((3, 2), 7.0))
    other = mlp()
    other.compile(loss="mse")
    with pytest.raises(InputError, match="expected a PINN"):
        other.fit(np.zeros((4, 2)), np.zeros((4, 1)), callbacks=[Resampling("r3")], verbose=0)
    fresh = PINN(mlp(), BURGERS)
    with pytest.raises(InputError, match="received no points yet"):
        fresh.resample(np.zeros((3, 2)))
    with pytest.raises(InputError, match="points of a PINN: received none yet"):
        fresh.points()
    scheme = phasecore.weighting.rba()._replace(on_move="refused")
    bound = PINN(mlp(), BURGERS, weighting={"mine": scheme})
    bound.points(20)
    with pytest.raises(InputError, match="weighting 'mine', which forbids it"):
        bound.resample(BURGERS.sample(20, seed=1))
