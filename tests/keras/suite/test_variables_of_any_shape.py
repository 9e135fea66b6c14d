"""A trained variable may have any shape: none, as an adaptive slope has, or one with no entries."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from repeats import further

import phasecore
from phasecore_keras import PINN, PhaseMonitor

SHAPES = {"none": (), "one": (1,), "three": (2, 1, 2), "empty": (0,), "rows": (0, 3), "columns": (3, 0)}


@keras.saving.register_keras_serializable("tests")
class Slopes(layers.Layer):
    def __init__(self, shape, **options):
        super().__init__(**options)
        self._shape = shape

    def build(self, shape):
        self.slopes = self.add_weight(shape=self._shape, initializer="ones", name="slopes")

    def call(self, inputs):
        return ops.tanh((1.0 + ops.sum(ops.square(self.slopes))) * inputs)


@pytest.mark.filterwarnings("ignore:Taylor-mode derivatives do not know this model")
@pytest.mark.parametrize("weighting", ["grad_norm:every=1", *further("learning_rate_annealing:every=1", "ntk:every=1")])
@pytest.mark.parametrize("shape", ["none", "empty", *further("one", "three", "rows", "columns")])
def test_a_training_is_measured_and_its_terms_balanced(shape, weighting):
    network = keras.Sequential([keras.Input((2,)), layers.Dense(4), Slopes(SHAPES[shape]), layers.Dense(1)])
    model = PINN(network, phasecore.problem("burgers"), weighting=weighting)
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    monitor = PhaseMonitor(every=1, batches=4, biases=True)
    model.fit(model.points(20, seed=0, condition_points=4), epochs=2, callbacks=[monitor], verbose=0)
    row = monitor.history[-1]
    assert all(np.isfinite(row[name]) for name in ("snr", "adam_snr", "gradient_std_norm", "training_loss"))
