"""Captures of the first epoch are of the loss that is trained: the first step's weights, the mean of those seen."""

import numpy as np
import pytest
from keras_models import pinn, still
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


SCHEMES = [
    "rba+grad_norm",
    "soft_adapt",
    *further(
        *("uniform", "rba", "vrba", "self_adaptive", "brdr", "causal:slabs=5,epsilon=1.0", "relobralo", "grad_norm"),
        *("learning_rate_annealing", "ntk", "soft_adapt+rba", "ntk:every=3"),
    ),
]


@pytest.mark.parametrize("weighting", SCHEMES)
def test_the_first_row_has_the_weights_of_the_first_step_and_leaves_them_as_they_were(weighting):
    """The network does not move, so that the loss of the first step, and the row after it, are those of the first."""
    model, points = still(weighting, points=60, depth=1)
    before = [(variable.path, to_numpy(variable.value).copy()) for variable in model.variables]
    own = Capture(model, batches=10, probes=["term_losses"]).measure()
    for variable, (path, value) in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(variable.value), value, err_msg=path)
    monitor = PhaseMonitor(every=1, batches=10)
    history = model.fit(points, epochs=1, callbacks=[monitor], verbose=0).history
    first, second = monitor.history
    assert first["training_loss"] == pytest.approx(history["loss"][0], rel=1e-4)
    assert own["training_loss"] == pytest.approx(first["training_loss"], rel=1e-5)
    for name in ("training_loss", "weighted_loss_pde", "weighted_loss_initial"):
        assert first[name] == pytest.approx(second[name], rel=1e-4), name
    assert first["snr"] == pytest.approx(second["snr"], rel=2e-2)


def test_weights_of_terms_that_a_step_has_updated_are_measured_as_they_are():
    """Twice, and after two steps: what is captured is the loss that an evaluation gives."""
    model, points = still("soft_adapt", points=60, depth=1)
    model.fit(points, epochs=2, verbose=0)
    losses = [Capture(model, batches=10, probes=["term_losses"]).measure()["training_loss"] for _ in range(2)]
    expected = model.evaluate(points, verbose=0, return_dict=True)["loss"]
    assert losses == pytest.approx([expected, expected], rel=1e-5)


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
