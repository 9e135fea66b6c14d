"""Gradients through float16 are those through float32 to its digits, whatever the size of the loss."""

import keras
import numpy as np
import pytest
from keras import ops
from keras_models import mlp
from repeats import further, repeated

import phasecore
from phasecore_keras import PINN, Capture
from phasecore_keras.autodiff import to_numpy
from phasecore_keras.tangents import Tangents

SIZES = [1e-9, *further(1e-5, 1.0, 1e7)]
"""Of the loss; float16 has numbers from 6e-8 to 65504."""

CLOSE = 2e-2


def network(dtype, seed=1):
    model = mlp(depth=2, dtype=dtype)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.7, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def pinn(dtype, weighting, **options):
    model = PINN(network(dtype), phasecore.problem("burgers"), weighting=weighting, **options)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    return model, model.points(60, seed=0, condition_points=8)


def fixed(size):
    return "fixed:" + ",".join(f"{term}={size:g}" for term in ("pde", "initial", "boundary"))


def assert_close(short, wide):
    """Arrays, compared by the largest of the wide ones."""
    for one, other in zip(short, wide, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=CLOSE, atol=CLOSE * np.abs(other).max())


@pytest.mark.parametrize("size", SIZES)
def test_statistics_of_a_pinn(size):
    rows = [
        Capture(pinn(dtype, fixed(size))[0], batches=6, probes=["gradient_snr"]).measure()
        for dtype in ("mixed_float16", "float32")
    ]
    for name in ("snr", "gradient_mean_norm", "gradient_std_norm"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=CLOSE), name
    assert rows[1]["gradient_mean_norm"] == pytest.approx(size * 20, rel=0.9)


@pytest.mark.parametrize("size", SIZES)
def test_statistics_of_a_model_with_a_loss_of_its_own(size):
    points = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype("float32")
    rows = []
    for dtype in ("mixed_float16", "float32"):
        model = network(dtype)
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")

        def loss(x, model=model):
            return size * ops.mean(ops.square(ops.cast(model(x), "float32") - 1.0))

        rows.append(Capture(model, loss=loss, points=points, batches=6).measure())
    for name in ("snr", "gradient_mean_norm", "gradient_std_norm", "training_loss"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=CLOSE), name


@pytest.mark.parametrize("size", SIZES)
def test_the_loss_and_gradient_of_quasi_newton_steps(size):
    found = []
    for dtype in ("mixed_float16", "float32"):
        model, _ = pinn(dtype, fixed(size))
        model.quasi_newton.prepare()
        found.append(model.quasi_newton._evaluate())
    assert found[0][0] == pytest.approx(found[1][0], rel=CLOSE)
    assert_close(found[0][1], found[1][1])


@pytest.mark.parametrize("derivatives", ["jets", *further("autodiff")])
@pytest.mark.parametrize("size", SIZES)
def test_gradients_and_kernels_of_the_terms(size, derivatives):
    terms = ["pde"], ["initial", "boundary"]
    gradients, traces = [], []
    for dtype in ("mixed_float16", "float32"):
        model, points = pinn(dtype, "uniform", derivatives=derivatives)
        tangents = Tangents(model.physics)
        factors = {"pde": ops.convert_to_tensor(np.full(len(points["indices"]), size**0.5, dtype="float32"))}
        own = tangents.term_gradients(*terms, factors)
        gradients.append([to_numpy(values) for term in own.values() for values in term.values() if values.ndim > 1])
        found = tangents.tangent_kernel_traces(*terms, factors)
        traces.append([to_numpy(found[term]) for term in ("pde", "initial", "boundary")])
    assert_close(*gradients)
    assert_close(*traces)


@repeated
@pytest.mark.parametrize("weighting", ["rba:eta=0.0001+grad_norm:every=5,alpha=0.0", "rba+ntk:every=5"])
def test_weights_that_balance_the_terms(weighting):
    found = []
    for dtype in ("mixed_float16", "float32"):
        model, points = pinn(dtype, weighting)
        model.fit(points, epochs=1, verbose=0)
        current = model.physics.weighting.current()
        found.append([to_numpy(weight) for (_, kind), weight in current.items() if kind == "squared_residual"])
    assert_close(*found)


@pytest.mark.any_backend
def test_a_gradient_of_zero_is_zero_and_one_that_is_not_finite_is_not():
    model = network("mixed_float16")
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    points = np.zeros((12, 2), dtype="float32")
    zero = Capture(model, loss=lambda x: 0.0 * ops.sum(ops.cast(model(x), "float32")), points=points, batches=3)
    assert zero.measure()["gradient_mean_norm"] == 0.0
    model.layers[0].kernel.assign(np.full((2, 8), np.nan))
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(zero.measure()["gradient_mean_norm"])
