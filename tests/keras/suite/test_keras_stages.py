"""A training in stages, each with an optimizer of its own, goes on as one: iterations count on."""

import keras
import numpy as np
import pytest
from keras_models import pinn
from repeats import repeated

from phasecore_keras import Resampling
from phasecore_keras.autodiff import to_numpy

STAGES = [[12], [5, 7], [1, 4, 2, 5], [9, 3]]


def still():
    return keras.optimizers.SGD(0.0)


class Watched(keras.callbacks.Callback):
    """Writes something down of the model after each epoch."""

    def __init__(self, read):
        super().__init__()
        self.read, self.seen = read, []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.read(self.model))


def in_stages(stages, weighting, read, *, between=lambda model: model, resampling=None):
    """What is read after each epoch of a step, in stages between which the model is compiled anew."""
    model, watched = None, Watched(read)
    for number, epochs in enumerate(stages):
        if model is None:
            model, _ = pinn(weighting, optimizer=still(), points=20)
        else:
            model = between(model)
            model.compile(optimizer=still())
        callbacks = [watched, *([Resampling(resampling, seed=0)] if resampling else [])]
        model.fit(model.points(), epochs=epochs, callbacks=callbacks, verbose=0)
        assert int(model.optimizer.iterations) == stages[number]
    return watched.seen


@pytest.mark.any_backend
@pytest.mark.parametrize("stages", STAGES[1:])
def test_points_move_as_in_one_training(stages):
    def places(model):
        return model.physics.collocation.interior.copy()

    whole, parts = (in_stages(own, "uniform", places, resampling="uniform:every=2") for own in (STAGES[0], stages))
    np.testing.assert_array_equal(whole, parts)
    assert len({places.tobytes() for places in parts}) == 6


def updated_at(model):
    (part,) = model.physics.weighting.parts
    return int(to_numpy(part.updated_at.value))


@repeated
@pytest.mark.parametrize("stages", STAGES)
def test_weights_between_steps_are_updated_as_in_one_training(stages):
    assert in_stages(stages, "grad_norm:every=5", updated_at) == [0] * 5 + [5] * 5 + [10] * 2


@pytest.mark.any_backend
def test_a_saved_model_goes_on_likewise(tmp_path):
    def reloaded(model):
        model.save(tmp_path / "model.keras")
        return keras.saving.load_model(tmp_path / "model.keras")

    for stages in STAGES[1:]:
        assert in_stages(stages, "grad_norm:every=5", updated_at, between=reloaded) == [0] * 5 + [5] * 5 + [10] * 2


@pytest.mark.any_backend
def test_an_optimizer_that_comes_back_counts_no_step_twice():
    model, points = pinn("grad_norm:every=5", optimizer=still(), points=20)
    first, seen = model.optimizer, []
    for optimizer in (first, still(), first, first):
        model.compile(optimizer=optimizer)
        for _ in range(3):
            model.train_on_batch(points)
            seen.append(updated_at(model))
    assert seen == [0] * 5 + [5] * 5 + [10] * 2
