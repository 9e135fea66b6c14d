"""Small models and slow, plain ways to compute what the adapter computes."""

import keras
import numpy as np
from keras import layers, ops

import phasecore
from phasecore_keras import PINN
from phasecore_keras.autodiff import to_numpy

BACKEND = keras.backend.backend()


def mlp(inputs=2, outputs=1, width=8, depth=1, **options):
    hidden = [layers.Dense(width, activation="tanh", **options) for _ in range(depth)]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(outputs, **options)])


def structure_of(model):
    """What makes one plain network as another but for its numbers, or None if it is not that plain."""
    if type(model) is not keras.Sequential or any(type(layer) is not layers.Dense for layer in model.layers):
        return None
    each = ((layer.units, layer.activation.__name__, layer.dtype_policy.name) for layer in model.layers)
    return tuple(model.input_shape), tuple(each)


def pinn(
    weighting="rba", problem="burgers", points=60, optimizer=None, compile_options=(), condition_points=None, **options
):
    made = phasecore.problem(problem) if isinstance(problem, str) else problem
    model = PINN(mlp(len(made.coordinates), len(made.outputs), **options), made, weighting=weighting)
    model.compile(optimizer=optimizer or keras.optimizers.Adam(1e-3), **dict(compile_options))
    return model, model.points(points, seed=0, condition_points=condition_points)


def still(weighting="rba", **options):
    """A PINN whose network does not move, so that only its weights change in training."""
    return pinn(weighting, optimizer=keras.optimizers.SGD(0.0), **options)


def residuals(model):
    found = model.physics.residuals_at(ops.convert_to_tensor(model.physics.points))
    return {term: to_numpy(values).astype(np.float64) for term, values in found.items()}


def rba(residual, batches, gamma=0.999, eta=0.001):
    """The formula, line by line in float64, for batches of indices."""
    weight = np.zeros(len(residual))
    for batch in batches:
        r = np.abs(residual[batch])
        weight[batch] = gamma * weight[batch] + eta * r / r.max()
    return weight


def variables_of(model):
    return [to_numpy(variable.value) for variable in model.variables]


class Batches(keras.utils.PyDataset):
    """Batches of points in a given order."""

    def __init__(self, points, batches):
        super().__init__()
        self._points, self._batches = points, batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return ({name: values[self._batches[index]] for name, values in self._points.items()},)
