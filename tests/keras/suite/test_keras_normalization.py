"""Derivatives of normalized networks against the same arithmetic written out: backends' own are wrong."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from repeats import further

from phasecore_keras import PartialDerivatives
from phasecore_keras.autodiff import autodiff, to_numpy

NAMES = ("u", "u_x", "u_xx", "u_xxx", "u_xy")
POINTS = np.random.default_rng(0).uniform(-1, 1, (12, 2)).astype("float32")


class Written(layers.Layer):
    """Layer or group normalization of sums and products."""

    def __init__(self, axes, own, shape=None):
        super().__init__()
        self.axes, self.own, self.grouped = axes, own, shape

    def call(self, x):
        x = x if self.grouped is None else ops.reshape(x, self.grouped)
        centred = x - ops.mean(x, axis=self.axes, keepdims=True)
        found = centred / ops.sqrt(ops.mean(centred * centred, axis=self.axes, keepdims=True) + 0.1)
        if self.grouped is not None:
            return ops.reshape(found, (-1, 6))
        gamma, beta = getattr(self.own, "gamma", None), getattr(self.own, "beta", None)
        found = found if gamma is None else found * gamma
        return found if beta is None else found + beta


def networks(kind):
    keras.utils.set_random_seed(2)
    before, after = layers.Dense(6), [layers.Activation("tanh"), layers.Dense(1)]
    if kind == "two axes":
        own, shape = layers.LayerNormalization(axis=(1, 2), epsilon=0.1), [layers.Reshape((2, 3))]
        written, back = Written((1, 2), own), [layers.Flatten()]
    elif kind == "groups":
        own, shape, back = layers.GroupNormalization(groups=2, epsilon=0.1, center=False, scale=False), [], []
        written = Written(2, own, (-1, 2, 3))
    else:
        options = {"center": False, "scale": False} if kind == "plain" else {}
        own, shape, back = layers.LayerNormalization(epsilon=0.1, **options), [], []
        written = Written(-1, own)
    made = [keras.Sequential([keras.Input((2,)), before, *shape, norm, *back, *after]) for norm in (own, written)]
    for variable in own.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(1.0, 0.3, variable.shape))
    return made


def evaluate(model, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        derivatives = PartialDerivatives(model, ["u"], ["x", "y"], NAMES, POINTS, method)
    evaluated = derivatives(ops.convert_to_tensor(POINTS))
    return derivatives, {name: to_numpy(values) for name, values in evaluated.items()}


@pytest.mark.parametrize("method", ["auto", "autodiff"])
@pytest.mark.parametrize("kind", ["weighted", "groups", *further("plain", "two axes")])
def test_derivatives_are_those_of_the_arithmetic(kind, method):
    own, written = networks(kind)
    derivatives, found = evaluate(own, method)
    assert derivatives.method == ("jets" if method == "auto" and kind != "groups" else "autodiff")
    _, expected = evaluate(written, "autodiff")
    for name in NAMES:
        scale = float(np.abs(expected[name]).max())
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("kind", ["weighted", *further("groups")])
def test_gradients_of_second_derivatives_are_too(kind):
    def gradients(model, method):
        derivatives, _ = evaluate(model, method)
        variables = model.trainable_variables[:2]  # of the first layer, which both networks share

        def loss(points):
            return ops.mean(ops.square(derivatives(points)["u_xx"]))

        value_and_gradients = autodiff().value_and_gradients(loss, variables, model.variables)
        return [to_numpy(gradient) for gradient in value_and_gradients(ops.convert_to_tensor(POINTS))[1]]

    own, written = networks(kind)
    for gradient, expected in zip(gradients(own, "auto"), gradients(written, "autodiff"), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=5e-3, atol=5e-3 * float(np.abs(expected).max()))
