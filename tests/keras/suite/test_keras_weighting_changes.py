"""A PINN whose weighting was changed is saved and loaded whole, whatever was done to the one that takes it."""

import keras
import numpy as np
import pytest
from repeats import further

import phasecore
from phasecore.policies import AverageWeighting, HoldWeighting, ReleaseWeighting
from phasecore_keras import PINN
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.storing import hold

FIRST, OTHER, NONE = "rba:gamma=0.5,eta=0.5", "rba:gamma=0.9,eta=0.1", "uniform"
CHAINS = [
    [HoldWeighting(), ReleaseWeighting()],
    [OTHER, NONE],
    *further([NONE, FIRST], [HoldWeighting(), OTHER], [OTHER, HoldWeighting()], [AverageWeighting()]),
    *further([OTHER, NONE, FIRST], [NONE, HoldWeighting()]),
]


def told(chain):
    return ", ".join(change if isinstance(change, str) else change.name for change in chain)


def made():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model = PINN(network, phasecore.problem("helmholtz"), weighting=FIRST)
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    model.fit(model.points(12, seed=0, condition_points=4), epochs=1, verbose=0)
    return model


def changed(model, chain):
    for change in chain:
        if isinstance(change, str):
            model.change_weighting(change)
        else:
            hold(model, change)
        model.fit(model.points(), epochs=2, verbose=0)
    return model


def kept(model):
    return [to_numpy(variable.value) for variable in (*model.weighting.variables, *model.attention.variables)]


@pytest.mark.parametrize("other", [[], *further(["brdr"], [NONE, HoldWeighting()])], ids=told)
@pytest.mark.parametrize("chain", CHAINS, ids=told)
def test_weights_are_loaded_after_any_changes(tmp_path, chain, other):
    model = changed(made(), chain)
    model.save_weights(tmp_path / "kept.weights.h5")
    taken = changed(made(), other)
    taken.load_weights(tmp_path / "kept.weights.h5")
    assert taken.weighting.held == model.weighting.held
    assert len(kept(model)) == len(kept(taken))
    for one, loaded in zip(kept(model), kept(taken), strict=True):
        np.testing.assert_array_equal(one, loaded)
    model.fit(model.points(), epochs=2, verbose=0)
    taken.fit(taken.points(), epochs=2, verbose=0)
    for one, loaded in zip(kept(model), kept(taken), strict=True):
        np.testing.assert_allclose(one, loaded, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chain", CHAINS[:2], ids=told)
def test_so_is_a_whole_model(tmp_path, chain):
    model = changed(made(), chain)
    model.save(tmp_path / "kept.keras")
    taken = keras.saving.load_model(tmp_path / "kept.keras")
    assert len(kept(model)) == len(kept(taken))
    for one, loaded in zip(kept(model), kept(taken), strict=True):
        np.testing.assert_array_equal(one, loaded)
