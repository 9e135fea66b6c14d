from dataclasses import dataclass

import keras
import numpy as np
import pytest
from captures import due
from keras_models import mlp, pinn, variables_of
from repeats import further

import phasecore
from phasecore import InputError
from phasecore.problems import Prescribed, Preset, Problem
from phasecore_keras import PINN, PhaseMonitor
from phasecore_keras.autodiff import to_numpy


@dataclass(frozen=True)
class Decay(Problem):
    """u_t + rate u = 0."""

    rate: float = 2.0

    name = "decay"
    coordinates = ("t",)
    outputs = ("u",)
    equations = {"ode": ("u", "u_t")}  # noqa: RUF012
    grid = (11,)
    reference_accuracy = "exact"
    presets = {"quick": Preset(points=20, width=4, depth=1, iterations=5)}  # noqa: RUF012

    @property
    def domain(self):
        return {"t": (0.0, 1.0)}

    @property
    def conditions(self):
        return [Prescribed("initial", ("t", 0.0), {"u": 1.0})]

    def residuals(self, coordinates, partials, xp):
        return {"ode": partials["u_t"] + self.rate * partials["u"]}

    def reference(self, points):
        return {"u": np.exp(-self.rate * np.asarray(points)[:, 0])}


def assert_equal(one, other):
    for a, b in zip(variables_of(one), variables_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weighting", ["rba:gamma=0.9", *further("uniform")])
def test_a_saved_pinn_goes_on_as_if_nothing_had_happened(weighting, tmp_path):
    model, points = pinn(weighting)
    model.fit(points, epochs=4, verbose=0, callbacks=[PhaseMonitor(every=4, batches=5)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, PINN)
    assert loaded.problem == model.problem
    np.testing.assert_array_equal(loaded.physics.points, model.physics.points)
    for one, other in zip(loaded.physics.collocation.conditions, model.physics.collocation.conditions, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_equal(loaded, model)
    for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value))
    more = [m.fit(points, epochs=2, shuffle=False, verbose=0).history["loss"] for m in (model, loaded)]
    np.testing.assert_allclose(*more, rtol=1e-6)


@pytest.mark.any_backend
def test_points_of_ones_own_are_saved(tmp_path):
    model, _ = pinn()
    own = np.random.default_rng(5).uniform((-1, 0), (1, 1), (33, 2))
    points = model.points(own)
    model.fit(points, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.physics.points, own.astype("float32"))
    loaded.fit(points, epochs=1, verbose=0)


@pytest.mark.any_backend
def test_a_pinn_that_is_not_compiled_is_saved(tmp_path):
    model = PINN(mlp(), phasecore.problem("burgers"))
    model.points(20)
    model.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


@pytest.mark.any_backend
def test_the_config_is_complete():
    model = PINN(mlp(), phasecore.problem("burgers", viscosity=0.02), "rba:eta=0.01", derivatives="jets", name="mine")
    config = model.get_config()
    again = PINN.from_config(config)
    assert again.get_config() == config
    assert (again.name, again.problem, again.physics.method) == ("mine", model.problem, "jets")


@pytest.mark.any_backend
def test_a_problem_of_ones_own_is_found_among_custom_objects(tmp_path):
    model = PINN(mlp(1), Decay(rate=3.0))
    model.compile(optimizer="adam")
    model.fit(model.points(20), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects={"Decay": Decay})
    assert loaded.problem == Decay(rate=3.0)
    assert_equal(loaded, model)
    with pytest.raises(Exception, match="custom_objects"):
        keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.any_backend
def test_a_scheme_given_as_an_object_cannot_be_saved_by_name(tmp_path):
    model = PINN(mlp(), phasecore.problem("burgers"), phasecore.weighting_scheme("rba"))
    with pytest.raises(InputError, match="a weighting scheme given as an object"):
        model.get_config()
    model.points(20)
    model.save_weights(tmp_path / "model.weights.h5")


class Killed(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_backup_and_restore_resumes(tmp_path):
    """An interrupted training ends as one that was not."""
    whole, points = pinn()
    start = [to_numpy(v.value).copy() for v in whole.network.variables]
    whole.fit(points, epochs=6, shuffle=False, verbose=0)

    def restart():
        model, _ = pinn()
        for variable, value in zip(model.network.variables, start, strict=True):
            variable.assign(value)
        return model

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(KeyboardInterrupt):
        restart().fit(points, epochs=6, shuffle=False, verbose=0, callbacks=[backup(), Killed()])
    resumed = restart()
    monitor = PhaseMonitor(every=2, batches=5, probes=["gradient_snr"])
    resumed.fit(points, epochs=6, shuffle=False, verbose=0, callbacks=[backup(), monitor])
    assert [row["iteration"] for row in monitor.history] == due(2, 6, after=3)
    for one, other in zip(variables_of(whole), variables_of(resumed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
