"""Alignment, noise scale and norm test: against loops, closed forms, and their own expectations."""

import math

import numpy as np
import pytest

from phasecore import InputError
from phasecore.probes.gradient_alignment import GradientAlignment
from phasecore.probes.gradient_noise_scale import GradientNoiseScale
from phasecore.probes.norm_test import NormTest
from phasecore.signals import Moments, Signals

SHAPES = {"layer0": (3, 4), "layer1": (5,)}


def signals_of(gradients, sizes):
    """From the gradient of each batch, {layer: shape (batches, *shape)}."""
    moments = {layer: Moments(values.mean(axis=0), values.std(axis=0)) for layer, values in gradients.items()}
    return Signals({"batch_gradient_moments": moments, "batch_sizes": np.asarray(sizes)}, np)


def batch_gradients(generator, sizes, mean=0.2):
    """Means over batches of points whose gradients have variance 1 about `mean`."""
    return {
        layer: np.stack([mean + generator.standard_normal((size, *shape)).mean(axis=0) for size in sizes])
        for layer, shape in SHAPES.items()
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alignment_is_that_of_a_loop_over_parameters(dtype):
    generator = np.random.default_rng(0)
    terms = {
        term: {layer: generator.standard_normal(shape).astype(dtype) for layer, shape in SHAPES.items()}
        for term in ("pde", "initial", "boundary")
    }
    flat = {term: [float(v) for values in own.values() for v in values.ravel()] for term, own in terms.items()}
    flat["total"] = [sum(values) for values in zip(*flat.values(), strict=True)]
    measured = GradientAlignment().measure(Signals({"term_gradients": terms}, np))
    assert len(measured) == 6
    for name, value in measured.items():
        one, other = (flat[term] for term in name.removeprefix("gradient_alignment_").split("_and_"))
        inner = math.fsum(a * b for a, b in zip(one, other, strict=True))
        assert value == pytest.approx(inner / math.hypot(*one) / math.hypot(*other), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_alignment_of_vectors_by_hand(scale):
    def cosine(one, other):
        terms = {"a": {"w": scale * np.asarray(one)}, "b": {"w": scale * np.asarray(other)}}
        return GradientAlignment().measure(Signals({"term_gradients": terms}, np))["gradient_alignment_a_and_b"]

    assert cosine([3.0, 0.0], [3.0, 3.0]) == pytest.approx(math.sqrt(0.5))
    assert cosine([1.0, 2.0], [-2.0, -4.0]) == pytest.approx(-1.0)
    assert cosine([1.0, 2.0], [2.0, -1.0]) == pytest.approx(0.0, abs=1e-15)
    assert math.isnan(cosine([0.0, 0.0], [1.0, 0.0]))
    assert math.isnan(cosine([math.nan, 0.0], [1.0, 0.0]))
    assert math.isnan(cosine([math.inf, 0.0], [1.0, 0.0]))


def test_noise_scale_is_that_of_the_two_batch_sizes_of_the_paper():
    """Appendix A.1: |G|^2 and tr(Sigma) from the mean squared norms of small batches and that of the big one."""
    gradients = batch_gradients(np.random.default_rng(1), [7] * 12)
    flat = np.concatenate([values.reshape(12, -1) for values in gradients.values()], axis=1)
    small, big = 7, 12 * 7
    small_norm = np.mean(np.sum(flat**2, axis=1))
    big_norm = np.sum(np.mean(flat, axis=0) ** 2)
    squared_norm = (big * big_norm - small * small_norm) / (big - small)
    trace = (small_norm - big_norm) / (1 / small - 1 / big)
    measured = GradientNoiseScale().measure(signals_of(gradients, [7] * 12))
    assert measured["gradient_squared_norm_unbiased"] == pytest.approx(squared_norm, rel=1e-10)
    assert measured["gradient_noise_trace"] == pytest.approx(trace, rel=1e-10)
    assert measured["gradient_noise_scale_points"] == pytest.approx(trace / squared_norm, rel=1e-10)


def test_both_estimates_are_unbiased_for_batches_of_different_sizes():
    generator = np.random.default_rng(2)
    sizes, parameters = [1, 2, 5, 9], 17
    rows = [GradientNoiseScale().measure(signals_of(batch_gradients(generator, sizes), sizes)) for _ in range(3000)]
    for name, exact in (("gradient_noise_trace", parameters), ("gradient_squared_norm_unbiased", 0.2**2 * parameters)):
        samples = np.asarray([row[name] for row in rows])
        error = samples.std() / math.sqrt(len(samples))
        assert abs(samples.mean() - exact) < 4 * error
        assert error < 0.05 * exact


def test_gradients_lost_in_noise_have_an_infinite_noise_scale():
    def scale(*values):
        return GradientNoiseScale().measure(signals_of({"layer0": np.asarray(values)[:, None]}, [4] * len(values)))

    assert scale(1.0, -1.0)["gradient_noise_scale_points"] == math.inf
    assert scale(2.0, 2.0)["gradient_noise_scale_points"] == 0.0
    assert math.isnan(scale(0.0, 0.0)["gradient_noise_scale_points"])
    diverged = {"layer0": Moments(np.asarray([1e100]), np.asarray([math.inf]))}
    signals = Signals({"batch_gradient_moments": diverged, "batch_sizes": np.asarray([4, 4])}, np)
    assert GradientNoiseScale().measure(signals)["gradient_noise_trace"] == math.inf


def test_norm_test_is_that_of_the_batches_as_samples():
    """Byrd et al., equations 3.3 to 3.5: sample variance over sample size against the squared norm of the mean."""
    sizes = [6] * 9
    gradients = batch_gradients(np.random.default_rng(3), sizes)
    flat = np.concatenate([values.reshape(9, -1) for values in gradients.values()], axis=1)
    mean = flat.mean(axis=0)
    variance = np.sum((flat - mean) ** 2) / 8
    measured = NormTest(theta=0.5).measure(signals_of(gradients, sizes))
    assert measured["norm_test_theta"] == pytest.approx(math.sqrt(variance / 9 / np.sum(mean**2)), rel=1e-10)
    assert measured["norm_test_batch_theta"] == pytest.approx(math.sqrt(variance / np.sum(mean**2)), rel=1e-10)
    points = 6 * variance / (0.5**2 * np.sum(mean**2))
    assert measured["norm_test_points"] == pytest.approx(points, rel=1e-10)


@pytest.mark.parametrize("theta", [0, 1, -0.5, "0.9", True, math.nan])
def test_a_theta_outside_zero_and_one_is_refused(theta):
    with pytest.raises(InputError, match=r"'theta'.*between 0 and 1"):
        NormTest(theta=theta)
