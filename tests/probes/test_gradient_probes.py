"""SNR, gradient order and Adam's SNR against oracles that loop over parameters one by one, in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasecore.probes.adam_learning_rates import AdamLearningRates
from phasecore.probes.adam_snr import AdamSNR
from phasecore.probes.gradient_snr import GradientSNR
from phasecore.probes.norms import norm, ratio
from phasecore.signals import AdamMoments, Moments, Signals

SHAPES = {"layer0": (2, 7), "layer1": (7, 7), "layer2": (7, 1)}


def batch_gradients(seed, batches=100, mean=1.0):
    generator = np.random.default_rng(seed)
    return {
        layer: mean * generator.standard_normal(shape) + generator.standard_normal((batches, *shape))
        for layer, shape in SHAPES.items()
    }


def naive_norms(gradients):
    """Norms of mean, deviation and root mean square, one parameter and one batch at a time."""
    means, deviations, roots = [], [], []
    for batches in gradients:
        flat = batches.reshape(len(batches), -1)
        for parameter in range(flat.shape[1]):
            values = [float(flat[batch, parameter]) for batch in range(len(flat))]
            mean = math.fsum(values) / len(values)
            means.append(mean)
            deviations.append(math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)))
            roots.append(math.sqrt(math.fsum(value**2 for value in values) / len(values)))
    return tuple(math.sqrt(math.fsum(value**2 for value in part)) for part in (means, deviations, roots))


def moments_of(gradients, dtype=np.float64):
    return {
        layer: Moments(values.mean(axis=0).astype(dtype), values.std(axis=0).astype(dtype))
        for layer, values in gradients.items()
    }


@pytest.mark.parametrize("mean", [0.0, 0.01, 1.0, 1e3, 1e6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_snr_and_order_are_those_of_a_loop_over_batches(mean, dtype, tolerance):
    gradients = batch_gradients(0, mean=mean)
    measured = GradientSNR().measure(Signals({"batch_gradient_moments": moments_of(gradients, dtype)}, np))
    mean_norm, std_norm, rms_norm = naive_norms(gradients.values())
    assert measured["snr"] == pytest.approx(mean_norm / std_norm, rel=tolerance)
    assert measured["gradient_order"] == pytest.approx(mean_norm / rms_norm, rel=tolerance)
    assert measured["gradient_mean_norm"] == pytest.approx(mean_norm, rel=tolerance)
    assert measured["gradient_std_norm"] == pytest.approx(std_norm, rel=tolerance)
    snr = measured["snr"]
    assert measured["gradient_order"] == pytest.approx(snr / math.sqrt(1 + snr**2), rel=1e-12)
    assert 0 <= measured["gradient_order"] <= 1
    for layer, values in gradients.items():
        layer_mean, layer_std, _ = naive_norms([values])
        assert measured[f"{layer}_mean_norm"] == pytest.approx(layer_mean, rel=tolerance)
        assert measured[f"{layer}_std_norm"] == pytest.approx(layer_std, rel=tolerance)


def test_layers_are_left_out_on_demand():
    signals = Signals({"batch_gradient_moments": moments_of(batch_gradients(0))}, np)
    assert set(GradientSNR(per_layer=False).measure(signals)) == {
        "snr",
        "gradient_order",
        "gradient_mean_norm",
        "gradient_std_norm",
    }


def test_snr_of_gradients_that_do_not_vary_is_infinite_and_of_none_undefined():
    def measure(mean, std):
        moments = {"layer0": Moments(np.asarray([mean]), np.asarray([std]))}
        return GradientSNR(per_layer=False).measure(Signals({"batch_gradient_moments": moments}, np))

    assert measure(2.0, 0.0)["snr"] == math.inf
    assert measure(2.0, 0.0)["gradient_order"] == 1.0
    assert measure(0.0, 2.0)["gradient_order"] == 0.0
    assert math.isnan(measure(0.0, 0.0)["snr"])


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e-30])
def test_adam_snr_is_that_of_a_loop_over_parameters(scale):
    gradients = batch_gradients(1, batches=20)
    moments = {
        layer: AdamMoments(
            (scale * values.mean(axis=0)).astype(np.float32),
            (scale**2 * (values**2).mean(axis=0)).astype(np.float32),
        )
        for layer, values in gradients.items()
    }
    numerator = denominator = 0.0
    updates = []
    for layer in moments.values():
        for first, second in zip(layer.first.ravel(), layer.second.ravel(), strict=True):
            numerator += float(first) ** 2
            denominator += (math.sqrt(float(second)) + 1e-8) ** 2
            updates.append(abs(float(first)) / (math.sqrt(float(second)) + 1e-8))
    measured = AdamSNR().measure(Signals({"adam_moments": moments}, np))
    assert measured["adam_update_mean"] == pytest.approx(sum(updates) / len(updates), rel=1e-9)
    assert measured["adam_snr"] == pytest.approx(math.sqrt(numerator) / math.sqrt(denominator), rel=1e-5)
    assert measured["adam_first_moment_norm"] == pytest.approx(math.sqrt(numerator), rel=1e-5)
    assert measured["adam_second_moment_root_norm"] == pytest.approx(math.sqrt(denominator), rel=1e-5)


def test_adam_snr_of_weight_matrices_alone_leaves_biases_out():
    moments = {
        "layer0": AdamMoments(np.asarray([[1.0]]), np.asarray([[4.0]])),
        "layer0.bias": AdamMoments(np.asarray([3.0]), np.asarray([9.0])),
    }
    signals = Signals({"adam_moments": moments}, np)
    assert AdamSNR().measure(signals)["adam_snr"] == pytest.approx(math.sqrt(10 / 13))
    assert AdamSNR().measure(signals)["adam_update_mean"] == pytest.approx(0.75)
    assert AdamSNR(biases=False).measure(signals)["adam_snr"] == pytest.approx(0.5)
    assert AdamSNR(biases=False).measure(Signals({"adam_moments": {"b": moments["layer0.bias"]}}, np)) == {}


def test_adam_learning_rates_are_those_of_a_loop_over_parameters():
    rates = {"layer0": np.asarray([[1e-3, 3e-3]], dtype=np.float32), "layer0.bias": np.asarray([8e-3])}
    signals = Signals({"adam_learning_rates": rates}, np)
    measured = AdamLearningRates().measure(signals)
    variance = sum((value - 4e-3) ** 2 for value in (1e-3, 3e-3, 8e-3)) / 3
    assert measured == pytest.approx(
        {
            "adam_learning_rate_mean": 4e-3,
            "adam_learning_rate_variation": math.sqrt(variance) / 4e-3,
            "layer0_adam_learning_rate_mean": 2e-3,
            "layer0_adam_learning_rate_variation": 0.5,
        },
        rel=1e-6,
    )
    whole = AdamLearningRates(per_layer=False).measure(signals)
    assert whole == {name: value for name, value in measured.items() if not name.startswith("layer")}
    equal = AdamLearningRates().measure(Signals({"adam_learning_rates": {"layer0": np.full((3, 4), 0.1)}}, np))
    assert equal["adam_learning_rate_variation"] == pytest.approx(0.0, abs=1e-15)
    assert math.isnan(
        AdamLearningRates().measure(Signals({"adam_learning_rates": {"layer0": np.zeros((3, 4))}}, np))[
            "layer0_adam_learning_rate_variation"
        ]
    )


usual = st.floats(-1e100, 1e100).filter(lambda value: value == 0 or abs(value) > 1e-100)


@given(st.lists(st.lists(usual, max_size=5), max_size=5), st.randoms())
def test_a_norm_is_the_same_however_the_entries_are_grouped(groups, random):
    expected = math.hypot(*(value for group in groups for value in group))
    assert norm(groups) == pytest.approx(expected, rel=1e-12)
    random.shuffle(groups)
    assert norm(groups) == pytest.approx(expected, rel=1e-12)
    assert norm([[value for group in groups for value in group]]) == pytest.approx(expected, rel=1e-12)


@given(st.lists(usual, min_size=1, max_size=5), st.floats(1e-20, 1e20))
def test_a_norm_scales_with_its_entries(values, factor):
    assert norm([[factor * value for value in values]]) == pytest.approx(factor * norm([values]), rel=1e-12)


def test_norms_of_tiny_float32_gradients_do_not_vanish():
    assert norm([np.full(4, 1e-30, dtype=np.float32)]) == pytest.approx(2e-30, rel=1e-6)


@given(st.floats(0, 1e300), st.floats(1e-300, 1e300))
def test_a_ratio_is_a_division_where_there_is_one(numerator, denominator):
    assert ratio(numerator, denominator) == numerator / denominator
