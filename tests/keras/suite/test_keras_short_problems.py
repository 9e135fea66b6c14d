"""Problems in short in Keras: trained on every backend, saved, and the same numbers as the long form's."""

# ruff: noqa: RUF012

import keras
import numpy as np
import pytest
from keras_models import mlp
from repeats import repeated

import phasecore
from phasecore.errors import PluginError
from phasecore_keras import PINN, PhaseMonitor


class Wave(phasecore.Problem):
    domain = {"x": (0, 1), "t": (0, 1)}
    outputs = ("u",)
    speed = 2.0

    def conditions(self):
        return [phasecore.Prescribed("initial", ("t", 0), {"u": lambda at: np.sin(np.pi * at["x"]), "u_t": 0})]

    def residuals(self, x, u, xp):
        return u["u_tt"] - self.speed**2 * u["u_xx"] + xp.sin(x["x"])


class LongWave(Wave):
    equations = {"pde": ("u_tt", "u_xx")}

    def residuals(self, x, u, xp):
        return {"pde": super().residuals(x, u, xp)}

    def reference(self, x, t):
        return np.sin(np.pi * x) * np.cos(np.pi * self.speed * t)


class Coupled(phasecore.Problem):
    domain = {"t": (0, 1)}
    outputs = ("a", "b")

    def residuals(self, x, u, xp):
        return u["a_t"] - u["b"], u["b_t"] + u["a"]


def trained(problem, epochs=4, network=None):
    keras.utils.set_random_seed(0)
    model = PINN(network or mlp(), problem, weighting="rba")
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    monitor = PhaseMonitor(every=2, batches=5)
    losses = model.fit(model.points(40, seed=0), epochs=epochs, callbacks=[monitor], verbose=0).history
    return model, losses, monitor


@pytest.mark.any_backend
def test_losses_are_those_of_the_long_form():
    (_, short, without), (_, long, with_reference) = trained(Wave()), trained(LongWave())
    assert short["loss"] == pytest.approx(long["loss"], rel=1e-5)
    assert short["pde_loss"] == pytest.approx(long["pde_loss"], rel=1e-5)
    assert "relative_l2_error" not in without.history[-1]
    assert with_reference.history[-1]["relative_l2_error"] > 0
    assert without.history[-1]["snr"] == pytest.approx(with_reference.history[-1]["snr"], rel=1e-3)


def test_a_system_in_a_tuple_without_conditions_is_trained():
    network = keras.Sequential([keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(2)])
    _, losses, _ = trained(Coupled(), epochs=30, network=network)
    assert {"loss", "pde_1_loss", "pde_2_loss"} <= set(losses)
    # attention weights grow from zero, and the weighted loss with them
    first, last = (losses["pde_1_loss"][place] + losses["pde_2_loss"][place] for place in (0, -1))
    assert last < first


@pytest.mark.any_backend
def test_a_saved_model_finds_the_class_again(tmp_path):
    model, _, _ = trained(Wave(speed=3.0), epochs=1)
    model.save(tmp_path / "wave.keras")
    again = keras.saving.load_model(tmp_path / "wave.keras", custom_objects={"Wave": Wave})
    assert again.problem == Wave(speed=3.0)
    points = model.points(40, seed=0)
    assert again.evaluate(points, verbose=0) == pytest.approx(model.evaluate(points, verbose=0), rel=1e-5)


@repeated
def test_the_error_against_data_is_taken_at_their_points():
    points = np.random.default_rng(0).uniform(0, 1, (17, 2))
    problem = type("Known", (Wave,), {"reference": phasecore.ReferenceData(points, points.sum(axis=1))})()
    model, _, monitor = trained(problem, epochs=2)
    found = np.asarray(model.predict(points.astype("float32"), verbose=0))[:, 0]
    expected = np.linalg.norm(found - points.sum(axis=1)) / np.linalg.norm(points.sum(axis=1))
    assert monitor.history[-1]["relative_l2_error"] == pytest.approx(expected, rel=1e-3)


class NumpyOfPartials(Wave):
    def residuals(self, x, u, xp):
        return np.sin(u["u_t"]) - u["u_xx"]


@pytest.mark.any_backend
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # what torch does without gradients
def test_functions_of_numpy_are_refused_with_what_to_use():
    with pytest.raises(PluginError, match=r"(?s)residuals\(\).*[Cc]ompute with the functions of xp"):
        trained(NumpyOfPartials(), epochs=1)
