"""Saturation, entropy, information and histograms of layers against counts in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import phasecore
from phasecore import InputError
from phasecore.probes import binning
from phasecore.probes.activation_histograms import ActivationHistograms
from phasecore.probes.layer_entropy import LayerEntropy
from phasecore.probes.saturation import Saturation
from phasecore.probes.target_information import TargetInformation
from phasecore.signals import Signals


def tanh_layer(points=900, neurons=5, gain=3.0, dtype=np.float32, seed=0):
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-1, 1, (points, 2))
    return np.tanh(gain * inputs @ generator.standard_normal((2, neurons))).astype(dtype)


def measure(probe, layer, **others):
    return probe.measure(Signals({"activations": {"layer0": layer}, **others}, np))


def naive_counts(layer, bins):
    """The number of bins of each neuron: how often the layer's common width fits its range, a transcription."""
    reach = [float(max(column)) - float(min(column)) for column in layer.T]
    width = sum(reach) / len(reach) / bins
    return [max(1, math.floor(own / width + 1e-5)) for own in reach]


def naive_patterns(layer, counts):
    """The bins of each row, as tuples, value by value in float64."""
    columns = []
    for column, count in zip(layer.T, counts, strict=True):
        values = [float(value) for value in column]
        low, high = min(values), max(values)
        columns.append([min(math.floor((value - low) / ((high - low) / count)), count - 1) for value in values])
    return list(zip(*columns, strict=True))


def naive_entropy(items):
    shares = [count / len(items) for count in Counter(items).values()]
    return -math.fsum(share * math.log2(share) for share in shares)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gain", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("bins", [2, 7, 30])
def test_saturation_is_that_of_a_loop(bins, gain, dtype):
    layer = tanh_layer(gain=gain, dtype=dtype)
    shares = []
    for column, count in zip(layer.T, naive_counts(layer, bins), strict=True):
        values = [float(value) for value in column]
        low, high = min(values), max(values)
        width = (high - low) / count
        at_ends = sum(count <= 2 or value < low + width or value > high - width for value in values)
        shares.append(at_ends / len(values))
    expected = sum(shares) / len(shares)
    assert measure(Saturation(bins), layer) == {"layer0_saturation": pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gain", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("neurons", [1, 7, 8, 9])
def test_entropy_is_that_of_counted_tuples(neurons, gain, dtype):
    layer = tanh_layer(neurons=neurons, gain=gain, dtype=dtype)
    for bins in (2, 30):
        expected = naive_entropy(naive_patterns(layer, naive_counts(layer, bins)))
        assert measure(LayerEntropy(bins), layer)["layer0_entropy_bits"] == pytest.approx(expected, rel=1e-12)


def test_more_bins_than_fit_a_byte():
    """One neuron that moves a thousand times as much as the others has thousands of bins."""
    layer = tanh_layer(neurons=40) * np.asarray([1e4] + [1e-3] * 39, dtype=np.float32)
    expected = naive_entropy(naive_patterns(layer, naive_counts(layer, 30)))
    assert max(max(pattern) for pattern in naive_patterns(layer, naive_counts(layer, 30))) > 1000
    assert measure(LayerEntropy(), layer)["layer0_entropy_bits"] == pytest.approx(expected, rel=1e-12)


cells = arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 20)), elements=st.integers(0, 2))


@given(cells)
def test_labels_are_equal_where_and_only_where_rows_are(rows):
    labels = binning.pattern_labels(rows)
    assert len({(label, tuple(row)) for label, row in zip(labels, rows.tolist(), strict=True)}) == len(set(labels))
    assert len(set(labels)) == len(np.unique(rows, axis=0))
    assert set(labels) == set(range(len(set(labels))))


@given(cells)
def test_rows_that_share_a_key_are_told_apart(rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binning, "mixed", lambda words: words[:, 0] % np.uint64(2))
        labels = binning.pattern_labels(rows)
    expected = naive_entropy([tuple(row) for row in rows.tolist()])
    assert binning.entropy_bits(labels) == pytest.approx(expected, abs=1e-12)
    assert len({(label, tuple(row)) for label, row in zip(labels, rows.tolist(), strict=True)}) == len(set(labels))


def test_structured_patterns_have_different_keys():
    """Patterns that differ in a bit here and there are what linear mixings confuse."""
    bits = np.arange(2**16)[:, None] >> np.arange(16) & 1
    for shift in (0, 7):
        words = binning._words((bits << shift).astype(np.uint8))
        assert len(np.unique(binning.mixed(words))) == 2**16


def test_closed_forms():
    codes = np.repeat(np.arange(16)[:, None] >> np.arange(4) & 1, 3, axis=0) * 2.0 - 1.0
    assert measure(LayerEntropy(), codes) == {"layer0_entropy_bits": 4.0}
    assert measure(Saturation(), codes) == {"layer0_saturation": 1.0}
    even = np.linspace(0, 1, 30_001)[:, None]
    assert measure(Saturation(), even)["layer0_saturation"] == pytest.approx(2 / 30, rel=1e-3)
    assert measure(LayerEntropy(), even)["layer0_entropy_bits"] == pytest.approx(math.log2(30), rel=1e-6)
    distinct = np.random.default_rng(0).uniform(size=(1024, 30))
    assert measure(LayerEntropy(), distinct) == {"layer0_entropy_bits": 10.0}


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_each_neuron_has_whole_bins_of_its_own_range(signs):
    """Ranges 1 and 1.4, a common width 0.6: one bin and two, (0, 0) and (0, 1) half of the points each."""
    layer = np.asarray([[0, 0], [0, 0], [1, 1.1], [1, 1.4]]) * np.asarray(signs)
    assert measure(LayerEntropy(2), layer) == {"layer0_entropy_bits": 1.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("gain", [0.5, 3.0, 30.0])
def test_flipping_a_neuron_changes_nothing(gain, dtype):
    layer = tanh_layer(neurons=9, gain=gain, dtype=dtype)
    flipped = layer * np.random.default_rng(3).choice([-1, 1], 9).astype(dtype)
    target = {"u": np.arange(len(layer), dtype=float)}
    assert (flipped != layer).any()
    for probe in (LayerEntropy(), LayerEntropy(7), Saturation(), TargetInformation()):
        assert measure(probe, flipped, targets=target) == pytest.approx(measure(probe, layer, targets=target))


def test_neurons_that_saturate_in_float32_have_one_number_of_bins():
    ends = np.asarray([1, 1 - 2.0**-24, 1 - 2.0**-23], dtype=np.float32)
    layer = np.stack([np.linspace(-end, end, 31, dtype=np.float32) for end in ends], axis=1)
    assert binning.bin_counts(*binning.ranges(layer), 30).tolist() == [30, 30, 30]


def test_a_constant_layer_carries_nothing_and_one_that_diverged_is_undefined():
    constant = np.full((20, 3), 0.7)
    assert math.isnan(measure(Saturation(), constant)["layer0_saturation"])
    assert measure(LayerEntropy(), constant) == {"layer0_entropy_bits": 0.0}
    for bad in (math.nan, math.inf):
        diverged = tanh_layer()
        diverged[3, 1] = bad
        target = {"u": np.arange(len(diverged), dtype=float)}
        assert math.isnan(measure(Saturation(), diverged)["layer0_saturation"])
        assert math.isnan(measure(LayerEntropy(), diverged)["layer0_entropy_bits"])
        assert math.isnan(measure(TargetInformation(), diverged, targets=target)["layer0_target_information_bits"])
        assert math.isnan(measure(ActivationHistograms(), diverged)["layer0_activation_count_00"])


@pytest.mark.parametrize("fields", [("u",), ("u", "v")])
def test_information_is_entropy_less_conditional_entropy(fields):
    layer = tanh_layer(neurons=2, gain=1.0)
    generator = np.random.default_rng(1)
    target = {name: np.round(generator.uniform(-5, 7, len(layer)), 1) + layer[:, 0] for name in fields}
    measured = measure(TargetInformation(10, 4), layer, targets=target)
    patterns = naive_patterns(layer, naive_counts(layer, 10))
    binned = [naive_patterns(values[:, None], [4]) for values in target.values()]
    groups = {}
    for pattern, label in zip(patterns, zip(*binned, strict=True), strict=True):
        groups.setdefault(label, []).append(pattern)
    conditional = math.fsum(len(group) / len(layer) * naive_entropy(group) for group in groups.values())
    expected = naive_entropy(patterns) - conditional
    assert measured["layer0_target_information_bits"] == pytest.approx(expected, rel=1e-9)
    assert measured["target_entropy_bits"] == pytest.approx(naive_entropy(list(zip(*binned, strict=True))), rel=1e-12)
    assert 0 < expected < measured["target_entropy_bits"]


def test_information_in_closed_form():
    bits = np.arange(64)[:, None] >> np.arange(6) & 1
    target = {"u": bits[:, 0] + 2.0 * bits[:, 1]}
    for neurons, information in (([0], 1.0), ([0, 1], 2.0), ([2, 3], 0.0), ([0, 2, 4], 1.0), (range(6), 2.0)):
        measured = measure(TargetInformation(), bits[:, list(neurons)].astype(float), targets=target)
        assert measured["layer0_target_information_bits"] == pytest.approx(information, abs=1e-12)
        assert measured["target_entropy_bits"] == 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_histograms_are_those_of_a_loop(dtype):
    layer = tanh_layer(dtype=dtype)
    values = [float(value) for value in layer.ravel()]
    low, high = min(values), max(values)
    expected = Counter(min(int((value - low) / (high - low) * 12), 11) for value in values)
    measured = measure(ActivationHistograms(12), layer)
    counts = {int(name[-2:]): count for name, count in measured.items() if "_count_" in name}
    assert counts == {place: expected.get(place, 0) for place in range(12)}
    assert (measured["layer0_activation_minimum"], measured["layer0_activation_maximum"]) == (low, high)
    assert list(counts) == sorted(counts)


def test_the_histogram_of_a_constant_layer_is_one_bin():
    measured = measure(ActivationHistograms(3), np.full((4, 2), 0.5))
    assert [value for name, value in measured.items() if "_count_" in name] == [8.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["saturation", "layer_entropy", "target_information", "activation_histograms"])
@pytest.mark.parametrize("bins", [0, 1, -3, 2.5, "10", True])
def test_bins_that_are_no_integer_of_two_or_more_are_refused(name, bins):
    with pytest.raises(InputError, match=rf"{name}.*'bins'.*2 or more"):
        phasecore.probe(name, bins=bins)
    with pytest.raises(InputError, match="'target_bins'"):
        TargetInformation(target_bins=1)
