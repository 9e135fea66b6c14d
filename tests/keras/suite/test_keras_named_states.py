"""States whose arrays are hard to name, and schemes that are, are kept whole on every backend of Keras."""

import named_states
import numpy as np
import pytest
from keras import ops
from keras_models import mlp, still, variables_of
from named_states import PROBLEM, TERMS

from phasecore.weighting import rba
from phasecore.weighting.states import state_entries
from phasecore_keras import PhysicsLoss
from phasecore_keras.autodiff import to_numpy


def kept(part):
    return {entry: float(to_numpy(leaf).flat[0]) for entry, leaf in state_entries(part.state)}


@pytest.mark.parametrize("fields", named_states.STATES.values(), ids=named_states.STATES)
def test_every_array_has_a_place_of_its_own(fields):
    loss = PhysicsLoss(PROBLEM, mlp(), PROBLEM.sample(20, seed=0), weighting=named_states.made(fields))
    (part,) = loss.weighting.parts
    assert kept(part) == named_states.expected(fields, 0)
    signals = loss._blank_signals()
    for _ in range(3):
        part.update(signals, ops.arange(20))
    assert kept(part) == named_states.expected(fields, 3)
    total = sum(named_states.expected(fields, 3).values())
    np.testing.assert_allclose(to_numpy(part.weight("pde")), np.full(20, total), rtol=1e-6)
    assert kept(part._copied("beside")) == kept(part)


def test_they_are_trained_and_saved(tmp_path):
    fields = {"mean": (*TERMS, "0.a/b"), "mean_square": TERMS, "mean_pde": None}
    model, points = still(named_states.made(fields), problem=PROBLEM)
    model.fit(points, epochs=2, verbose=0)
    (part,) = model.physics.weighting.parts
    assert kept(part) == named_states.expected(fields, 2)
    model.save_weights(tmp_path / "pinn.weights.h5")
    again, _ = still(named_states.made(fields), problem=PROBLEM)
    again.load_weights(tmp_path / "pinn.weights.h5")
    assert kept(again.physics.weighting.parts[0]) == kept(part)


def test_schemes_may_have_any_names():
    schemes = {name: rba() for name in ("a.b", "a/b", "a%2Eb", "a%2Fb", "my scheme", "")}
    model, points = still(schemes)
    model.fit(points, epochs=1, verbose=0)
    assert [part.scheme_name for part in model.physics.weighting.parts] == [*schemes]
    weights = [to_numpy(part.weight("pde")) for part in model.physics.weighting.parts]
    for other in weights[1:]:
        np.testing.assert_array_equal(weights[0], other)
    assert len({variable.path for variable in model.physics.weighting.variables}) == 3 * len(schemes)
    assert all(np.all(np.isfinite(values)) for values in variables_of(model))
