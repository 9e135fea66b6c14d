"""Captures of the first epoch are of the loss that is trained: the first step's weights, the mean of those seen."""

import numpy as np
import pytest
from keras_models import pinn
from repeats import further

from phasecore_keras import PhaseMonitor
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.capture import Capture


def rows_and_losses(weighting, size, epochs):
    model, points = pinn(weighting, points=60, depth=1)
    monitor = PhaseMonitor(every=1, batches=10)
    model.fit(points, epochs=epochs, batch_size=size, callbacks=[monitor], verbose=0)
    return model, list(monitor.history)


@pytest.mark.parametrize("weighting", ["rba", *further("vrba", "rba+vrba")])
@pytest.mark.parametrize("size", [60, 12])
def test_no_row_of_the_first_epoch_is_of_another_loss(weighting, size):
    _, rows = rows_and_losses(weighting, size, epochs=2)
    for name in ("weighted_loss_pde", "snr"):
        values = np.log10([row[name] for row in rows])
        assert np.abs(np.diff(values)).max() < 1.0, name


def test_a_capture_before_the_first_step_leaves_the_weights_as_they_were():
    model, _ = pinn("rba", points=60, depth=1)
    capture = Capture(model, batches=10)
    before = [(variable.path, to_numpy(variable.value).copy()) for variable in model.variables]
    row = capture.measure()
    assert row["weighted_loss_pde"] < 1e-3 * row["loss_pde"]
    for variable, (path, value) in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable.value), value, err_msg=path)


@pytest.mark.parametrize("weighting", ["rba", *further("vrba")])
def test_points_that_were_in_no_batch_have_the_mean_weight_of_the_others(weighting):
    model, points = pinn(weighting, points=60, depth=1)
    model.fit(points, epochs=1, steps_per_epoch=2, batch_size=12, shuffle=False, verbose=0)
    weight = to_numpy(model.physics.point_weights()["pde"])
    (part,) = model.physics.weighting.parts
    seen, others = weight[:24], weight[24:]
    mean = np.sqrt(np.mean(seen**2)) if part.scheme.multiplies == "residual" else np.mean(seen)
    np.testing.assert_allclose(others, mean, rtol=1e-4)
    assert len(np.unique(seen)) > 12
