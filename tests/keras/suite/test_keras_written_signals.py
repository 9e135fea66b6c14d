"""A scheme that writes into its signals is refused where arrays can be written to, and changes no loss elsewhere."""

import keras
import numpy as np
import pytest
from keras_models import BACKEND, mlp, residuals, still
from written_signals import PROBLEM, SIGNALS, writer

from phasecore import PluginError
from phasecore_keras import PhysicsLoss


def loss_of(scheme):
    return PhysicsLoss(PROBLEM, mlp(), PROBLEM.sample(20, seed=0), weighting={"mine": scheme})


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("in_init", [False, True])
def test_writing_into_a_signal_is_refused_on_torch_alone(signal, in_init):
    if BACKEND != "torch":
        loss_of(writer(signal, in_init=in_init))
        return
    with pytest.raises(PluginError, match=rf"weighting 'mine', .*signal '{signal}' changed in place.*new arrays"):
        loss_of(writer(signal, in_init=in_init))


def test_a_loss_is_that_of_its_residuals_whatever_a_scheme_writes_later():
    calls = []
    model, points = still({"mine": writer("residuals", when=lambda: calls.append(1) or len(calls) > 1)})
    if BACKEND == "torch":
        with pytest.raises(PluginError, match="signal 'residuals' changed in place"):
            model.fit(points, epochs=2, verbose=0)
        return
    loss = model.fit(points, epochs=2, verbose=0).history["loss"]
    expected = sum(np.mean(r**2) for r in residuals(model).values())
    conditions = model.physics.condition_residuals().values()
    expected += sum(np.mean(np.square(keras.ops.convert_to_numpy(r))) for r in conditions)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
