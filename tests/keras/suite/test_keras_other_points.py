"""Other points of a PINN, given by `points`: what is known of a point goes with it, and steps are on what there is."""

import keras
import numpy as np
import pytest
from keras_models import Batches, still
from repeats import further, repeated

import phasecore
from phasecore import InputError
from phasecore.problems import CollocationPoints
from phasecore_keras import PINN, PhaseMonitor
from phasecore_keras.autodiff import to_numpy

BURGERS = phasecore.problem("burgers")


def state_of(model):
    return [to_numpy(variable.value).copy() for variable in model.weighting.variables]


def others(model, how):
    """As many points as there are: in another order, one half new, all new, or those of the conditions new too."""
    now, drawn = model.physics.collocation, BURGERS.sample(60, seed=9)
    interior = now.interior.astype(np.float64)
    return {
        "another order": CollocationPoints(interior[::-1], now.conditions),
        "half new": CollocationPoints(np.concatenate([interior[30:], drawn.interior[:30]]), now.conditions),
        "all new": CollocationPoints(drawn.interior, now.conditions),
        "conditions new": drawn,
        "the same": now,
    }[how]


@pytest.mark.parametrize("how", ["half new", *further("another order", "all new", "conditions new", "the same")])
@pytest.mark.parametrize("weighting", ["rba+self_adaptive", *further("vrba", "brdr", "rba+grad_norm:every=2")])
def test_what_is_known_of_a_point_goes_with_it(weighting, how):
    model, points = still(weighting)
    model.fit(points, epochs=3, verbose=0)
    before, kept = state_of(model), model.physics.collocation
    chosen = others(model, how)
    model.points(chosen)
    given = state_of(model)
    model.physics.set_points(kept, restored=True)
    for variable, value in zip(model.weighting.variables, before, strict=True):
        variable.assign(value)
    model.resample(chosen)
    for own, other in zip(given, state_of(model), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.any_backend
def test_points_in_another_order_have_their_own_weights():
    model, points = still("rba:gamma=0.9,eta=0.1")
    model.fit(points, epochs=3, verbose=0)
    before = to_numpy(model.physics.point_weights()["pde"]).copy()
    again = model.points(points["coordinates"][::-1])
    np.testing.assert_array_equal(to_numpy(model.physics.point_weights()["pde"]), before[::-1])
    np.testing.assert_array_equal(again["indices"], np.arange(60))


@pytest.mark.any_backend
def test_a_scheme_that_forbids_moves_starts_anew_with_other_points():
    scheme = phasecore.weighting_scheme("rba")._replace(on_move="refused")
    model, points = still(scheme)
    model.fit(points, epochs=3, verbose=0)
    before = state_of(model)
    model.points(points["coordinates"])
    for own, other in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(own, other)
    model.points(points["coordinates"][::-1])
    assert model.weighting.parts[0].has_seen_none()


@repeated
def test_other_points_leave_a_tracked_attention_with_its_points():
    model, points = still("uniform")
    model.physics.track_attention()
    model.renew()
    model.fit(points, epochs=3, verbose=0)
    before = to_numpy(model.physics.residual_attention()["pde"]).copy()
    model.points(points["coordinates"][::-1])
    np.testing.assert_array_equal(to_numpy(model.physics.residual_attention()["pde"]), before[::-1])


def by_points(model, chosen, folder):
    model.points(chosen)


def by_a_file(model, chosen, folder):
    other = PINN(keras.models.clone_model(model.network), BURGERS, weighting=model.specification)
    other.compile(optimizer=keras.optimizers.SGD(0.0))
    other.network.set_weights(model.network.get_weights())
    other.points(chosen)
    other.optimizer.build(other.trainable_variables)
    other.optimizer.iterations.assign(model.optimizer.iterations.value)
    other.save_weights(folder / "other.weights.h5")
    model.load_weights(folder / "other.weights.h5")


HALVES = [np.arange(20), np.arange(20, 60)]
DATA = {
    "at once": lambda points: {"x": points},
    "in batches": lambda points: {"x": points, "batch_size": 25, "shuffle": False},
    "of a data set": lambda points: {"x": Batches(points, HALVES)},
}


class AtEpoch(keras.callbacks.Callback):
    """Does something before an epoch."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch, self.action = epoch, action

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action(self.model)


def loss_at(model, chosen):
    fresh = PINN(model.network, BURGERS)
    fresh.compile(optimizer=keras.optimizers.SGD(0.0))
    return fresh.evaluate(fresh.points(chosen), verbose=0, return_dict=True)["pde_loss"]


PAIRS = [(way, data) for data in DATA for way in (by_points, by_a_file)]


@pytest.mark.parametrize(("way", "data"), [PAIRS[0], *further(*PAIRS[1:])])
def test_a_fit_goes_on_with_the_points_that_there_are(way, data, tmp_path):
    """The loss of each epoch, and the captures beside, are those at the points of that epoch."""
    model, points = still("rba")
    chosen = BURGERS.sample(60, seed=5)
    before, monitor = model.physics.collocation, PhaseMonitor(every=1, batches=5, probes=["term_losses"])
    callbacks = [AtEpoch(1, lambda model: way(model, chosen, tmp_path)), monitor]
    history = model.fit(**DATA[data](points), epochs=3, callbacks=callbacks, verbose=0).history["pde_loss"]
    expected = [loss_at(model, own) for own in (before, chosen, chosen)]
    assert abs(expected[1] / expected[0] - 1) > 0.005
    assert history == pytest.approx(expected, rel=1e-4)
    assert monitor.history[-1]["loss_pde"] == pytest.approx(expected[1], rel=1e-4)
    model.fit(model.points(), epochs=1, verbose=0)
    with pytest.raises(InputError, match=r"train on pinn.points\(\)"):
        model.fit(points, epochs=1, verbose=0)


@pytest.mark.any_backend
@pytest.mark.parametrize("number", [40, 80])
def test_another_number_of_points_is_refused_within_a_fit_which_names_resample(number):
    model, points = still("rba")
    with pytest.raises(InputError, match=rf"within a fit: received {number} points; expected 60.*pinn.resample"):
        model.fit(points, epochs=2, callbacks=[AtEpoch(1, lambda model: model.points(number))], verbose=0)
    assert len(model.points(number)["indices"]) == number


@pytest.mark.any_backend
def test_a_file_of_another_number_of_points_is_refused_within_a_fit_on_batches_alone(tmp_path):
    model, points = still("rba")
    loads = AtEpoch(1, lambda model: by_a_file(model, BURGERS.sample(70, seed=5), tmp_path))
    with pytest.raises(ValueError, match="within a fit on batches: received 70 points; expected 60"):
        model.fit(points, batch_size=20, epochs=2, callbacks=[loads], verbose=0)
    history = model.fit(model.points(), epochs=2, callbacks=[loads], verbose=0).history["pde_loss"]
    assert history[1] == pytest.approx(loss_at(model, BURGERS.sample(70, seed=5)), rel=1e-4)


@pytest.mark.any_backend
def test_the_same_points_within_a_fit_compile_nothing_anew():
    model, points = still("rba")
    model.fit(points, epochs=2, callbacks=[AtEpoch(1, lambda model: model.points(60, seed=0))], verbose=0)
    assert model.physics.moving is None


@repeated
def test_a_step_on_a_batch_is_on_that_after_a_fit_on_all_points_that_moved():
    model, points = still("uniform")
    chosen = BURGERS.sample(60, seed=5)
    model.fit(points, epochs=2, callbacks=[AtEpoch(1, lambda model: model.resample(chosen))], verbose=0)
    some = {name: values[:7] for name, values in model.points().items()}
    expected = model.evaluate(some, verbose=0, return_dict=True)["pde_loss"]
    model.reset_metrics()
    assert model.train_on_batch(some, return_dict=True)["pde_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.any_backend
def test_options_of_points_are_used_or_refused():
    model, points = still("uniform")
    x = points["coordinates"]
    for given, options in ((60, {"condition_points": 7}), (x, {"condition_points": 7}), (x, {"seed": 3}), (x, {})):
        model.points(given, **options)
        expected = BURGERS.sample(60, **options).conditions
        for own, other in zip(model.physics.collocation.conditions, expected, strict=True):
            np.testing.assert_array_equal(own, other)
    before = model.physics.collocation
    for given in (None, BURGERS.sample(60, seed=2)):
        for options in ({"seed": 0}, {"seed": 4}, {"condition_points": 33}):
            with pytest.raises(InputError, match=rf"argument '{next(iter(options))}' of pinn.points.*nothing is drawn"):
                model.points(given, **options)
    assert model.physics.collocation is before


WRONG = {
    "beyond the last": (lambda p: {**p, "indices": p["indices"] + 1000}, "received 1000, one of 20 that are unknown"),
    "negative": (lambda p: {**p, "indices": -1 - p["indices"]}, "received -1, one of 20 that are unknown"),
    "one of them": (lambda p: {**p, "indices": np.where(p["indices"] == 7, 60, p["indices"])}, "received 60, one of 1"),
    "other coordinates": (lambda p: {**p, "coordinates": p["coordinates"] / 2}, "coordinates of collocation point 0"),
    "numbers of floats": (lambda p: {**p, "indices": p["indices"].astype("float32")}, "indices of float32"),
    "a column": (lambda p: {**p, "indices": p["indices"][:, None]}, r"indices of int32 and \(20, 1\)"),
    "fewer indices": (lambda p: {**p, "indices": p["indices"][:9]}, r"indices of int32 and \(9,\)"),
}


def in_fit(model, good, bad):
    model.fit(((own,) for own in (good, bad, good)), steps_per_epoch=3, epochs=1, verbose=0)


def in_evaluate(model, good, bad):
    model.evaluate(((own,) for own in (good, bad, good)), verbose=0)


WAYS = {
    "train_on_batch": lambda model, good, bad: model.train_on_batch(bad),
    "test_on_batch": lambda model, good, bad: model.test_on_batch(bad),
    "a generator in fit": in_fit,
    "a generator in evaluate": in_evaluate,
}


@pytest.mark.parametrize("way", WAYS)
def test_batches_of_other_points_are_refused_in_the_same_words_everywhere(way):
    model, points = still("rba")
    good = {name: values[:20] for name, values in points.items()}
    model.fit(good, epochs=1, verbose=0)
    for what, (change, message) in WRONG.items():
        with pytest.raises(InputError, match=message):
            WAYS[way](model, good, change(good))
        assert np.isfinite(model.evaluate(points, verbose=0, return_dict=True)["loss"]), what


@pytest.mark.any_backend
def test_single_steps_before_there_are_points_are_refused():
    model = PINN(still("rba")[0].network, BURGERS)
    model.compile(optimizer="adam")
    given = {"coordinates": np.zeros((2, 2), "float32"), "indices": np.arange(2)}
    for step in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(InputError, match="no collocation points"):
            step(given)


@repeated
def test_a_generator_goes_on_with_its_indices_where_points_move():
    model, points = still("uniform")
    chosen = BURGERS.sample(60, seed=5)
    batches = ((points,) for _ in range(3))
    moves = AtEpoch(1, lambda model: model.points(chosen))
    history = model.fit(batches, steps_per_epoch=1, epochs=3, callbacks=[moves], verbose=0).history["pde_loss"]
    assert history[1:] == pytest.approx([loss_at(model, chosen)] * 2, rel=1e-4)
