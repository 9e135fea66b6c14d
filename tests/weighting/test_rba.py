import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasecore import InputError
from phasecore.signals import Signals
from phasecore.weighting.rba import rba
from phasecore.weighting.uniform import uniform

CHOICES = [(start, normalization) for start in ("zeros", "residuals") for normalization in ("max", "minmax")]


def signals_of(residual, reduce=None):
    return Signals({"residuals": {"pde": residual}}, np, reduce)


def residuals_of_a_training(count, iterations, seed=0):
    """Residuals that fall over decades while a few points stay behind, as in the paper's figures."""
    generator = np.random.default_rng(seed)
    stubborn = generator.random(count) < 0.1
    for iteration in range(iterations):
        fall = np.where(stubborn, 1.0, math.exp(-iteration / 200))
        yield generator.standard_normal(count) * fall


@pytest.mark.parametrize(("start", "normalization"), CHOICES)
def test_rba_is_its_formula_over_a_thousand_updates(start, normalization):
    gamma, eta, count = 0.999, 0.001, 37
    scheme = rba(start=start, normalization=normalization)
    state = scheme.init(signals_of(np.zeros(count)))
    expected = [0.0] * count
    for iteration, residual in enumerate(residuals_of_a_training(count, 1000)):
        weights, state = scheme.update(signals_of(residual), state)
        sizes = [abs(float(value)) for value in residual]
        high, low = max(sizes), min(sizes)
        for i in range(count):
            normalized = sizes[i] / high if normalization == "max" else (sizes[i] - low) / (high - low)
            rate = 1.0 if start == "residuals" and iteration == 0 else eta
            expected[i] = gamma * expected[i] + rate * normalized
        np.testing.assert_allclose(weights["pde"], expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(("start", "normalization"), CHOICES)
@pytest.mark.parametrize(("gamma", "eta"), [(0.999, 0.001), (0.99, 0.1), (0.0, 0.5)])
def test_weights_stay_below_eta_over_one_minus_gamma_and_approach_it(gamma, eta, start, normalization):
    scheme = rba(gamma=gamma, eta=eta, start=start, normalization=normalization)
    state = scheme.init(signals_of(np.zeros(3)))
    bound = max(eta / (1 - gamma), 1.0 if start == "residuals" else 0.0)
    for _ in range(3000):
        weights, state = scheme.update(signals_of(np.asarray([-2.0, 1.0, 0.0])), state)
        assert np.all(weights["pde"] >= 0)
        assert np.all(weights["pde"] <= bound * (1 + 1e-12))
    assert weights["pde"][0] == pytest.approx(eta / (1 - gamma), rel=0.06)
    assert weights["pde"][2] < 0.06 * eta / (1 - gamma)


@pytest.mark.parametrize(("start", "normalization"), CHOICES)
def test_under_mini_batches_each_weight_stays_with_its_point(start, normalization):
    """Shuffled batches with a short last one, against an oracle that knows every point by its index."""
    gamma, eta, count, size = 0.9, 0.1, 23, 5
    scheme = rba(gamma=gamma, eta=eta, start=start, normalization=normalization)
    state = scheme.init(signals_of(np.zeros(count)))
    generator = np.random.default_rng(4)
    weight_of = dict.fromkeys(range(count), 0.0)
    seen = set()
    for _ in range(12):
        order = generator.permutation(count)
        for rows in np.split(order, range(size, count, size)):
            residual = generator.standard_normal(len(rows))
            batch = state._replace(
                **{
                    name: {term: values[rows] for term, values in getattr(state, name).items()}
                    for name in scheme.per_point
                }
            )
            weights, new = scheme.update(signals_of(residual), batch)
            for name in scheme.per_point:
                for term, values in getattr(state, name).items():
                    values[rows] = getattr(new, name)[term]
            high, low = max(abs(residual)), min(abs(residual))
            for position, point in enumerate(rows):
                share = abs(residual[position]) / high
                if normalization == "minmax":
                    share = (abs(residual[position]) - low) / (high - low)
                rate = 1.0 if start == "residuals" and point not in seen else eta
                weight_of[point] = gamma * weight_of[point] + rate * share
                assert weights["pde"][position] == pytest.approx(weight_of[point], rel=1e-13)
            seen.update(rows)
    np.testing.assert_allclose(state.weights["pde"], [weight_of[i] for i in range(count)], rtol=1e-13)


@pytest.mark.parametrize("batch", [23, 5])
def test_a_growing_bound_an_offset_and_one_weight_for_several_equations(batch):
    """50 updates in full and in mini-batches; under these a point's bound grows with its own updates."""
    eta, count = 0.1, 23
    scheme = rba(eta=eta, shared=True, offset=0.3, bound=2.0, bound_growth=0.05, largest_bound=2.5)
    terms = ("momentum_x", "momentum_y")
    state = scheme.init(Signals({"residuals": {term: np.zeros(count) for term in terms}}, np))
    generator = np.random.default_rng(4)
    weight_of, visits = dict.fromkeys(range(count), 0.3), dict.fromkeys(range(count), 0)
    for _ in range(50):
        rows = generator.permutation(count)[:batch]
        residuals = {term: generator.standard_normal(batch) for term in terms}
        fields = {name: {t: v[rows] for t, v in getattr(state, name).items()} for name in scheme.per_point}
        weights, new = scheme.update(Signals({"residuals": residuals}, np), state._replace(**fields))
        for name in scheme.per_point:
            for term, values in getattr(state, name).items():
                values[rows] = getattr(new, name)[term]
        sizes = [abs(float(one)) + abs(float(other)) for one, other in zip(*residuals.values(), strict=True)]
        for position, point in enumerate(rows):
            gamma = 1 - eta / min(2.0 + 0.05 * visits[point], 2.5)
            weight_of[point] = 0.3 + gamma * (weight_of[point] - 0.3) + eta * sizes[position] / max(sizes)
            visits[point] += 1
            for term in terms:
                assert weights[term][position] == pytest.approx(weight_of[point], rel=1e-12)
    assert max(visits.values()) > 10


def test_weights_reach_the_offset_and_the_bound_above_it():
    scheme = rba(eta=0.1, offset=0.5, bound=2.0)
    state = scheme.init(signals_of(np.zeros(2)))
    for _ in range(600):
        weights, state = scheme.update(signals_of(np.asarray([-3.0, 0.0])), state)
    np.testing.assert_allclose(weights["pde"], [2.5, 0.5], rtol=1e-12)


def test_one_weight_for_two_equations_is_of_the_sum_of_their_sizes():
    scheme = rba(gamma=0.0, eta=1.0, shared=True)
    signals = Signals({"residuals": {"x": np.asarray([1.0, -3.0]), "y": np.asarray([-1.0, 1.0])}}, np)
    weights, _ = scheme.update(signals, scheme.init(signals))
    assert {term: values.tolist() for term, values in weights.items()} == {"x": [0.5, 1.0], "y": [0.5, 1.0]}


@given(
    st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=12),
    st.sampled_from(["max", "minmax"]),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=60)
def test_the_scale_of_the_residuals_does_not_matter(residuals, normalization, factor):
    residual = np.asarray(residuals)
    residual[np.abs(residual) < 1e-100] = 0.0
    scheme = rba(normalization=normalization)
    state = scheme.init(signals_of(residual))
    one, _ = scheme.update(signals_of(residual), state)
    other, _ = scheme.update(signals_of(factor * residual), state)
    assert np.all(np.isfinite(one["pde"]))
    spread = np.ptp(np.abs(residual)) / max(np.max(np.abs(residual)), 1e-300)
    if normalization == "max" or spread > 1e-6:
        np.testing.assert_allclose(one["pde"], other["pde"], rtol=1e-9, atol=1e-12)


def test_maximum_and_minimum_come_from_the_signals_so_that_other_replicas_count():
    def reduce(kind, points):
        return np.asarray({"maximum": 8.0, "minimum": 0.0}[kind])

    for normalization in ("max", "minmax"):
        scheme = rba(gamma=0.0, eta=1.0, normalization=normalization)
        signals = signals_of(np.asarray([1.0, -2.0]), reduce)
        weights, _ = scheme.update(signals, scheme.init(signals))
        assert weights["pde"].tolist() == [0.125, 0.25]


def test_only_residuals_are_required():
    assert rba().requires == rba(normalization="minmax").requires == {"residuals"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.0}, "'gamma'.*received 1.0"),
        ({"gamma": -0.1}, "'gamma'"),
        ({"gamma": math.nan}, "'gamma'.*nan"),
        ({"eta": 0.0}, "'eta'.*positive"),
        ({"eta": math.inf}, "'eta'.*finite"),
        ({"start": "ones"}, "'start'.*one of zeros, residuals"),
        ({"shared": "yes"}, "'shared'.*one of True, False"),
        ({"offset": -0.1}, "'offset'.*non-negative"),
        ({"bound": 0.0001}, r"'bound'.*received 0.0001; expected a number in \[0.001, inf\)"),
        ({"bound": 2.0, "gamma": 0.9}, "'gamma': received 0.9; expected none: 'bound' gives it"),
        ({"bound_growth": 0.1}, "'bound_growth': received 0.1; expected none: without 'bound'"),
        ({"bound": 2.0, "largest_bound": 1.0}, r"'largest_bound'.*\[2, inf\)"),
        ({"normalization": "mean"}, "'normalization'.*one of max, minmax"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        rba(**options)


def test_uniform_weights_nothing_and_needs_nothing():
    scheme = uniform()
    state = scheme.init(Signals({}, np))
    assert scheme.update(Signals({}, np), state) == ({}, state)
    assert scheme.requires == frozenset()
